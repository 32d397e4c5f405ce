"""How a program begins and ends: its log, its exit status, the compiled programs it keeps."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import programs
import pytest

from gnl_jax import console
from gnl_jax.cli import main as cli
from gnl_jax.console import programs_folder, use_library_products


def program(code: str, **env: str) -> subprocess.CompletedProcess:
    """Runs `code` as the function given to `console.run`."""
    lines = "\n".join("    " + line for line in code.splitlines())
    source = f"from gnl_jax import console\ndef main():\n{lines}\nconsole.run(main)"
    command = [sys.executable, "-c", source]
    given = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_COMPILATION", "XDG_CACHE"))}
    env = given | {"JAX_PLATFORMS": "cpu", "XDG_CACHE_HOME": "/proc/none"} | env
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize(
    ("code", "status", "err"),
    [
        ("print('done')", 0, ""),
        ("raise ValueError('images: got none')", 1, "error: images: got none\n"),
        ("open('/no/such/file')", 1, "error: [Errno 2] No such file or directory: '/no/such/file'\n"),
        ("raise KeyboardInterrupt", 130, "interrupted; what was saved stands\n"),
        ("raise SystemExit(143)", 143, ""),
    ],
)
def test_exit_status_and_last_words(code, status, err):
    done = program(code, JAX_COMPILATION_CACHE_DIR="")
    assert (done.returncode, done.stderr) == (status, err)


WAITS = """
import sys, threading, time
from gnl_jax import console

def main():
    threading.Thread(target=sys.stdin.buffer.readline, daemon=True).start()
    print("waits")
    time.sleep(0.2)
    raise KeyboardInterrupt

console.run(main)
"""


def test_what_waits_for_a_line_of_stdin_ends_when_interrupted():
    """Python cannot take stdin apart while a thread reads it, and would abort."""
    with subprocess.Popen(
        [sys.executable, "-c", WAITS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.wait(100) == 130
        assert (process.stdout.read(), process.stderr.read()) == ("waits\n", "interrupted; what was saved stands\n")


def test_threads_are_waited_for_when_interrupted(tmp_path):
    code = f"""
import threading, time
def write():
    time.sleep(1)
    open({str(tmp_path / "written")!r}, "w").close()
threading.Thread(target=write).start()
raise KeyboardInterrupt
"""
    assert program(code).returncode == 130
    assert (tmp_path / "written").exists()


def test_what_was_not_expected_keeps_its_traceback():
    done = program("{}['key']")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "KeyError: 'key'" in done.stderr


def test_a_closed_pipe_is_no_error():
    source = "from gnl_jax import console\nconsole.run(lambda: [print(i) for i in range(100_000)])"
    with subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "0\n"
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 128 + signal.SIGPIPE
    assert "Traceback" not in err
    assert "BrokenPipe" not in err


def record(level, path, **more):
    return logging.LogRecord("absl", level, str(path), 1, "%s", ("text",), more.get("exc_info"))


def test_only_our_own_lines_and_warnings_are_shown():
    ours = Path(console.__file__).parent / "training" / "loop.py"
    theirs = Path(logging.__file__)
    assert console.is_shown(record(logging.INFO, ours))
    assert not console.is_shown(record(logging.INFO, theirs))
    assert console.is_shown(record(logging.WARNING, theirs))
    assert console.is_shown(record(logging.ERROR, theirs, exc_info=(OSError, OSError(), None)))
    assert not console.is_shown(record(logging.ERROR, theirs, exc_info=(KeyboardInterrupt, KeyboardInterrupt(), None)))


def test_the_log_is_plain_text():
    done = program(
        "import logging, absl.logging\n"
        "from gnl_jax.data.feed import choose_feed\n"
        "import numpy as np\n"
        "choose_feed(np.zeros((1, 8, 8, 3), np.uint8), feed='auto', budget_mb=1.0)\n"
        "absl.logging.info('from outside the package')\n"
        "absl.logging.warning('of %s', 'absl')\n"
        "logging.getLogger('other').info('nothing')\n"
        "logging.getLogger('other').warning('of another')\n"
        "try: 1 / 0\n"
        "except ZeroDivisionError: logging.getLogger('other').exception('failed')\n",
        JAX_COMPILATION_CACHE_DIR="",
    )
    assert done.stderr.splitlines() == [
        "1 training images of 0.0 MiB in all live on the device (train.device_budget_mb is 1)",
        "warning: of absl",
        "warning: of another",
        "error: failed",
    ]


COMPILE = (
    "import jax, numpy as np\n"
    "f = jax.jit(lambda x: jax.numpy.linalg.norm(jax.numpy.sin(x) @ x.T))\n"
    "print(np.asarray(f(np.arange(600, dtype=np.float32).reshape(20, 30))).tobytes().hex())\n"
)
ALL = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}


@pytest.mark.slow
def test_compiled_programs_are_kept(tmp_path):
    """A kept program gives the same bits as one just compiled, and nobody warns."""
    first = program(COMPILE, XDG_CACHE_HOME=str(tmp_path), **ALL)
    kept = sorted((tmp_path / "gnl_jax" / "xla").glob("*/jit_*-cache"))
    assert kept
    before = [path.stat().st_mtime_ns for path in kept]
    second = program(COMPILE, XDG_CACHE_HOME=str(tmp_path), **ALL)
    assert sorted((tmp_path / "gnl_jax" / "xla").glob("*/jit_*-cache")) == kept
    assert [path.stat().st_mtime_ns for path in kept] == before
    uncached = program(COMPILE, JAX_COMPILATION_CACHE_DIR="", **ALL)
    assert first.stdout == second.stdout == uncached.stdout != ""
    assert first.stderr == second.stderr == uncached.stderr == ""


@pytest.mark.slow
def test_another_folder_for_compiled_programs(tmp_path):
    program(COMPILE, XDG_CACHE_HOME=str(tmp_path / "a"), JAX_COMPILATION_CACHE_DIR=str(tmp_path / "b"), **ALL)
    assert not (tmp_path / "a").exists()
    assert list((tmp_path / "b").glob("jit_*-cache"))
    program(COMPILE, XDG_CACHE_HOME=str(tmp_path / "a"), JAX_COMPILATION_CACHE_DIR="", **ALL)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(("name", "value"), [("usable_cores", 1_000), ("processor", "another")])
def test_programs_of_another_machine_are_in_another_folder(monkeypatch, tmp_path, name, value):
    """JAX's own key tells neither apart."""
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    here = programs_folder()
    assert here.parent == tmp_path / "gnl_jax" / "xla"
    assert programs_folder() == here
    monkeypatch.setattr(console, name, lambda: value)
    assert programs_folder().parent == here.parent
    assert programs_folder() != here


@pytest.mark.parametrize("folder", ["/proc/none", "/dev/null/cache", "relative"])
def test_no_folder_for_compiled_programs_stops_nothing(folder):
    done = program(COMPILE, XDG_CACHE_HOME=folder, **ALL)
    assert done.returncode == 0
    assert done.stderr.startswith("compiled programs are not kept: ")
    assert len(done.stderr.splitlines()) == 1
    assert not Path("relative").exists()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, "--xla_gpu_enable_triton_gemm=false"),
        ("--xla_dump_to=x", "--xla_dump_to=x --xla_gpu_enable_triton_gemm=false"),
        ("--xla_gpu_enable_triton_gemm=true", "--xla_gpu_enable_triton_gemm=true"),
    ],
)
def test_a_library_computes_products_on_a_gpu_unless_asked_otherwise(monkeypatch, asked, expected):
    environ = {} if asked is None else {"XLA_FLAGS": asked}
    monkeypatch.setattr(console.os, "environ", environ)
    use_library_products()
    assert environ == {"XLA_FLAGS": expected}


@pytest.fixture
def started_anew(monkeypatch):
    """What `keep_memory` runs in place of this program."""
    commands = []
    monkeypatch.setattr(console.os, "execv", lambda path, command: commands.append((path, command)))
    monkeypatch.setattr(console.os, "confstr", lambda name: "glibc 2.36")
    monkeypatch.setattr(console.sys, "orig_argv", ["python3", "-X", "dev", "gnl-jax", "fit"])
    environ = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    monkeypatch.setattr(console.os, "environ", environ)
    return commands


def test_memory_is_kept_by_starting_anew_with_the_same_arguments(started_anew):
    console.keep_memory()
    assert started_anew == [(sys.executable, [sys.executable, "-X", "dev", "gnl-jax", "fit"])]
    assert console.os.environ["GLIBC_TUNABLES"] == console.KEPT_MEMORY
    console.keep_memory()  # in the new process
    assert len(started_anew) == 1


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        ("fit good --out a.gnl", console.ONE_HEAP),
        ("fit good --out a.gnl --arch wide_resnet50_2", console.ONE_HEAP),
        ("fit good --out a.gnl --method gnl", console.ONE_HEAP),
        ("fit good --out a.gnl --method gnl --size 128", console.KEPT_MEMORY),
        ("fit good --out a.gnl --method gnl --size 160", console.ONE_HEAP),
        ("fit good --out a.gnl --method gnl --size 64 --student a.pth", console.ONE_HEAP),
        ("fit-all root --out folder --method bank_and_student --size 64", console.KEPT_MEMORY),
        ("compare good --out folder", console.ONE_HEAP),
        ("compare good --out folder --methods patchcore,gnl --size 128", console.KEPT_MEMORY),
        ("score a.gnl good", None),
    ],
)
def test_memory_is_kept_for_what_trains_on_small_images(started_anew, monkeypatch, words, settings):
    monkeypatch.setattr(console.sys, "argv", ["gnl-jax", *words.split()])
    monkeypatch.setattr(cli, "main", lambda: 0)
    assert cli.script() == 0
    assert console.os.environ.get("GLIBC_TUNABLES") == settings
    assert len(started_anew) == (settings is not None)


@pytest.mark.parametrize(
    ("command", "given", "expected"),
    [("score", None, "X86_V4"), ("score", "AVX512_ICL", "AVX512_ICL"), ("info", None, None)],
)
def test_numpy_is_told_how_to_sort_before_it_is_there(command, given, expected):
    code = f"""
import os, sys
import gnl_jax.cli.main as cli
cli.numpy_settings = lambda: {{"NPY_DISABLE_CPU_FEATURES": "X86_V4"}}
cli.main = lambda: print(os.environ.get("NPY_DISABLE_CPU_FEATURES"), "numpy" in sys.modules)
sys.argv = ["gnl-jax", "{command}"]
cli.script()
"""
    env = {name: value for name, value in os.environ.items() if name != "NPY_DISABLE_CPU_FEATURES"}
    env |= {} if given is None else {"NPY_DISABLE_CPU_FEATURES": given}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=100)
    assert done.stdout == f"{expected} False\n"


@pytest.mark.parametrize("library", ["musl", "", None])
def test_memory_of_another_c_library(started_anew, monkeypatch, library):
    monkeypatch.setattr(console.os, "confstr", lambda name: library)
    console.keep_memory()
    assert started_anew == []


def test_a_setting_of_the_c_library_stands(started_anew):
    console.os.environ["GLIBC_TUNABLES"] = "glibc.malloc.check=1"
    console.keep_memory()
    assert started_anew == []


def test_make_sets_what_the_console_command_does():
    makefile = Path(__file__).parents[1] / "Makefile"
    assert f"GLIBC_TUNABLES ?= {console.KEPT_MEMORY}\n" in makefile.read_text()


def test_kept_memory_is_taken_once():
    """The same block of 64 MiB, taken and returned again and again: no page is cleared twice."""
    code = """
import resource
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    block = bytearray(1 << 26); del block
before = faults()
for _ in range(10):
    block = bytearray(1 << 26); del block
print(faults() - before)
"""
    env = os.environ | {"GLIBC_TUNABLES": console.KEPT_MEMORY}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=100, check=True
    )
    assert int(done.stdout) < 1000


@pytest.mark.parametrize("command", ["fit", "score"])
def test_the_console_command_ends_as_it_would_have(command):
    """Status and streams of a command that starts anew, and of one that does not."""
    code = f"import sys; sys.argv = ['gnl-jax', '{command}']; from gnl_jax.cli.main import script; script()"
    env = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=100)
    assert done.returncode == 2
    assert done.stderr.startswith(f"usage: gnl-jax {command}")


def test_the_package_runs_as_a_module():
    """`python -m gnl_jax` has the command's name and its exit status."""
    command = [sys.executable, "-m", "gnl_jax"]
    options = {"env": programs.environment(), "capture_output": True, "text": True, "timeout": 100}
    version = subprocess.run([*command, "--version"], **options)
    assert version.returncode == 0
    assert version.stdout.startswith("gnl-jax ")
    wrong = subprocess.run([*command, "fit", "/no/such/folder"], **options)
    assert wrong.returncode == 2
    assert "usage: gnl-jax fit" in wrong.stderr
