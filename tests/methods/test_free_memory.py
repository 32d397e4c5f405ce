"""What is free is the least of what machine and control groups leave."""

import pytest

from gnl_jax.methods.free_memory import free_bytes, granted, group_free, host_free, machine_free

GIB = 2**30


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"memory.{name}").write_text(f"{text}\n")


def test_here_something_is_free():
    assert 2**20 < host_free() <= machine_free()
    assert free_bytes() > 2**20


def test_the_machines_own_estimate(tmp_path):
    path = tmp_path / "meminfo"
    path.write_text("MemTotal: 24684092 kB\nMemFree: 10 kB\nMemAvailable:   20 kB\n")
    assert machine_free(path) == 20 * 1024
    path.write_text("nothing of the kind\n")
    assert machine_free(path) > 2**20  # the free pages


@pytest.mark.parametrize("seen_as_root", [False, True])
def test_a_group_of_version_2(tmp_path, seen_as_root):
    """A container is in a group whose files are found at the path, or, seen as the root, right at the mount."""
    own, mounted = tmp_path / "cgroup", tmp_path / "fs"
    own.write_text("1:name=systemd:/\n0::/a/b\n")
    outer, inner = (mounted, mounted / "a") if seen_as_root else (mounted / "a", mounted / "a/b")
    write(outer, max=8 * GIB, current=5 * GIB, stat=f"anon 1\ninactive_file {GIB}\nfile 7")
    write(inner, max="max", current=GIB, stat="inactive_file 0")
    assert group_free(own, mounted) == 4 * GIB
    write(inner, max=2 * GIB, current=GIB, stat="inactive_file 0")
    assert group_free(own, mounted) == GIB
    write(inner, max=2 * GIB, current=3 * GIB, stat="inactive_file 0")
    assert group_free(own, mounted) == 0


def test_a_group_of_version_1(tmp_path):
    own, mounted = tmp_path / "cgroup", tmp_path / "fs"
    own.write_text("4:memory:/a\n1:cpu:/a\n0::/\n")
    write(mounted / "memory", limit_in_bytes=2**63 - 4096, usage_in_bytes=1, stat="total_inactive_file 0")
    assert group_free(own, mounted) is None
    write(mounted / "memory/a", limit_in_bytes=3 * GIB, usage_in_bytes=2 * GIB, stat=f"total_inactive_file {GIB}")
    assert group_free(own, mounted) == 2 * GIB


def test_no_groups(tmp_path):
    assert group_free(tmp_path / "none", tmp_path) is None
    (tmp_path / "cgroup").write_text("0::/../../outside\n")
    assert group_free(tmp_path / "cgroup", tmp_path) is None


def test_what_was_granted_counts_whatever_is_free():
    before = host_free()
    with granted(5.5 * GIB):
        assert host_free() == free_bytes() == 5.5 * GIB
        with granted(None):  # nothing was said
            assert host_free() == 5.5 * GIB
    assert abs(host_free() - before) < 4 * GIB
