"""Processes share compiled programs without ever reading half of one."""

import os
import signal
import subprocess
import sys
import time

import compiled_programs
import jax
import pytest
from jax._src.lru_cache import LRUCache

HERE = compiled_programs.PLUGIN.parent
PROGRAM = bytes(range(256)) * 40_000  # 10 MB take a while to write

# Writes and reads the same programs as others; a reader that gets part of one says so.
SHARE = """
import sys, time
from pathlib import Path
from compiled_programs import get, put
program, folder, read = bytes(range(256)) * 40_000, Path(sys.argv[1]), 0
print("ready", flush=True)
input()
for i in range(30):
    for _ in range(3):
        got = get(folder, str(i))
        assert got in (None, program), len(got)
        read += got is not None
    put(folder, str(i), program)
print(read)
"""


def start(code, *arguments):
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_processes_that_write_and_read_the_same_programs(tmp_path):
    processes = [start(SHARE, tmp_path) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    printed = [process.communicate(timeout=100)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sum(map(int, printed)) > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{i}-cache" for i in range(30))
    assert compiled_programs.get(tmp_path, "7") == PROGRAM


def test_a_killed_writer_leaves_no_program(tmp_path):
    slow = (
        "import os, sys; from pathlib import Path; import compiled_programs\n"
        "class Slow:\n"
        "    def __init__(self, handle, mode): self.file = open(handle, mode)\n"
        "    def __enter__(self): return self\n"
        "    def __exit__(self, *_): self.file.close()\n"
        "    def write(self, data):\n"
        "        self.file.write(data[:100]); self.file.flush(); print('half', flush=True); input()\n"
        "os.fdopen = Slow\n"
        "compiled_programs.put(Path(sys.argv[1]), 'a', bytes(200))\n"
    )
    with start(slow, tmp_path) as process:
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
    assert compiled_programs.get(tmp_path, "a") is None
    (part,) = tmp_path.iterdir()
    os.utime(part, (0, 0))
    compiled_programs.forget(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compiled_programs.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        compiled_programs.put(tmp_path, "a", b"program")
    assert list(tmp_path.iterdir()) == []


def test_what_nobody_used_for_a_month_is_removed(tmp_path):
    for name, days in (("old", 31), ("used", 31), ("new", 1)):
        compiled_programs.put(tmp_path, name, b"program")
        os.utime(tmp_path / f"{name}-cache", (time.time() - days * 86400,) * 2)
    assert compiled_programs.get(tmp_path, "used") == b"program"
    compiled_programs.forget(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new-cache", "used-cache"]


def test_this_process_shares(tmp_path):
    """JAX's own reader and writer of files are replaced; where JAX changes them, this fails."""
    assert jax.config.jax_compilation_cache_dir == os.environ[compiled_programs.VARIABLE]
    cache = LRUCache(str(tmp_path), max_size=-1)
    inode = None
    for _ in range(2):  # the second time it is there
        cache.put("key", b"program")
        assert inode in (None, (tmp_path / "key-cache").stat().st_ino)
        inode = (tmp_path / "key-cache").stat().st_ino
    assert (cache.get("key"), cache.get("other")) == (b"program", None)
    assert LRUCache.put.__module__ == LRUCache.get.__module__ == "compiled_programs"


def test_a_process_of_the_tests_shares(tmp_path):
    """From its first program on, with nothing but the environment."""
    code = (
        "import jax; jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)\n"
        "import compiled_programs; compiled_programs.MIN_SECONDS = 0\n"
        "jax.jit(lambda x: x * 3 + 1)(2.0).block_until_ready()\n"
        "from jax._src.lru_cache import LRUCache\n"
        "print(LRUCache.put.__module__)\n"
    )
    environment = os.environ | compiled_programs.environment() | {compiled_programs.VARIABLE: str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=100)
    assert (done.stdout, done.stderr) == ("compiled_programs\n", "")
    assert list(tmp_path.glob("jit_*-cache"))


@pytest.mark.parametrize("cache", ["/proc/none", "/dev/null/cache", "relative"])
def test_a_home_that_cannot_be_written(monkeypatch, cache):
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    monkeypatch.delenv(compiled_programs.VARIABLE)
    monkeypatch.setattr(compiled_programs.atexit, "register", lambda *_, **__: None)
    folder = compiled_programs.choose()
    assert list(folder.iterdir()) == []
    assert os.environ[compiled_programs.VARIABLE] == str(folder)
    folder.rmdir()


def test_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(compiled_programs.VARIABLE)
    folder = compiled_programs.choose()
    assert folder == tmp_path / "gnl_jax" / f"tests-{jax.__version__}-{compiled_programs.processor()}"
    assert list(folder.iterdir()) == []
