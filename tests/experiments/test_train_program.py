"""experiments/train.py from the command line: what it refuses, in one line, and what is left behind then."""

import fcntl
import os

import programs
import pytest


def refused(*arguments, **env) -> str:
    """The one line of a command that is refused."""
    done = programs.run_quickly("train", *arguments, **env)
    assert done.returncode == 1
    assert done.stdout == ""
    line = done.stderr.splitlines()[-1]
    assert line.startswith("error: ")
    assert "Traceback" not in done.stderr
    return line.removeprefix("error: ")


@pytest.mark.parametrize(
    ("flag", "line"),
    [
        ("--config.trian.epochs=3", """--config has no field 'trian'; Did you mean "train" instead of "trian"?"""),
        ("--distributed=here", "distributed: got 'here', expected HOST:PORT,COUNT,INDEX or auto"),
        ("--config.train.epochs=x", "flag --config.train.epochs=x: invalid literal for int() with base 10: 'x'"),
    ],
)
def test_wrong_flags(tmp_path, flag, line):
    assert refused(f"{programs.DIGITS}:0", flag, f"--workdir={tmp_path}") == line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_wrong_configuration_files(tmp_path):
    line = refused(f"{programs.DIGITS}:0,gln", f"--workdir={tmp_path}")
    assert "ValueError: method: got 'gln', expected one of rd4ad, atta, dinl, gnl, abs_only" in line
    done = programs.run("train", "--config=no/such/file.py", f"--workdir={tmp_path}")
    assert done.returncode == 1
    assert done.stderr.startswith("error: Configuration is not available")
    assert "no/such/file.py" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("dataset.name=digit", "dataset.name: got 'digit', expected one of ["),
        ("dataset.limit_test=1", "limit: got 1, expected 0 (all) or at least 2"),
        ("eval.alpha=2.0", "eval.alpha: got 2.0, expected 0 to 1"),
        ("train.batch_size=1", "train.batch_size: got 1, expected at least 2 at this size"),
    ],
)
def test_a_refused_configuration_can_be_corrected(tmp_path, override, line):
    """Nothing is in the folder that would speak against the corrected command."""
    assert refused(*programs.SMALL, f"--config.{override}", f"--workdir={tmp_path}").startswith(line)
    assert [path.name for path in tmp_path.iterdir()] in ([], [".lock"])


@pytest.mark.slow
def test_no_teacher(tmp_path):
    none, resnet50 = "--config.teacher.weights=", "--config.teacher.arch=resnet50"
    assert refused(*programs.SMALL, none, resnet50, f"--workdir={tmp_path}") == (
        "teacher.weights: got nothing for resnet50, expected 'imagenet', 'random', or a path to a "
        ".safetensors, .npz or .pth file (or set GNL_JAX_TEACHER to one of them)"
    )
    line = refused(
        *programs.SMALL, "--config.teacher.weights=", f"--workdir={tmp_path}", GNL_JAX_TEACHER="/no/file.npz"
    )
    assert line == "/no/file.npz: No such file or directory, expected a file of weights"


@pytest.mark.slow
def test_folders_that_cannot_be_used(tmp_path):
    (tmp_path / "file").touch()
    for workdir in (tmp_path / "file" / "run", "/proc/run"):
        line = refused(*programs.SMALL, f"--workdir={workdir}")
        assert line.startswith(f"workdir {workdir}: ")
        assert line.endswith(", expected a folder to write in")
    lock = os.open(tmp_path / ".lock", os.O_RDWR | os.O_CREAT)
    os.write(lock, b"4711")
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        assert refused(*programs.SMALL, f"--workdir={tmp_path}") == (
            f"workdir {tmp_path}: in use by process 4711, expected a free one"
        )
    finally:
        os.close(lock)
