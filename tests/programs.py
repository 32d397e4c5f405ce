"""The programs in experiments/ as a user runs them, each in a process of its own, and what they left in a folder."""

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import compiled_programs
import jax

from gnl_jax.cli.main import main as gnl_jax_command
from gnl_jax.config_io import load_config
from gnl_jax.methods.build import build_method
from gnl_jax.training.checkpoint import Checkpoints

ROOT = Path(__file__).parent.parent
DIGITS = f"--config={ROOT}/configs/digits.py"
# Three steps an epoch, the last one with two images in it.
SMALL = (
    f"{DIGITS}:3",
    "--config.teacher.weights=random",
    "--config.dataset.limit_train=10",
    "--config.train.batch_size=4",
)


def environment() -> dict[str, str]:
    """That of the tests, without the user's own teacher; with the compiled programs that all processes share."""
    given = {name: value for name, value in os.environ.items() if name != "GNL_JAX_TEACHER"}
    return given | {"JAX_PLATFORMS": "cpu", "MPLBACKEND": "Agg"} | compiled_programs.environment()


def command(program: str, *arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "experiments" / f"{program}.py"), *map(str, arguments)]


def run(program: str, *arguments: str, **env: str) -> subprocess.CompletedProcess:
    """Runs experiments/PROGRAM.py to its end; stdout and stderr as text."""
    return subprocess.run(
        command(program, *arguments), env=environment() | env, capture_output=True, text=True, timeout=300
    )


@functools.cache
def server() -> subprocess.Popen:
    """program_server.py. One OpenBLAS thread is none beside the main one, so that forking is safe."""
    started = subprocess.Popen(
        [sys.executable, ROOT / "tests/program_server.py"],
        env=environment() | {"OPENBLAS_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    atexit.register(lambda: (started.stdin.close(), started.wait(timeout=30)))
    return started


def run_quickly(program: str, *arguments: str, **env: str) -> subprocess.CompletedProcess:
    """As `run`, in a process that need not import anything first: a tenth of the time for what is soon refused."""
    arguments = [*map(str, arguments)]
    with tempfile.TemporaryDirectory() as folder:
        request = {"program": program, "arguments": arguments, "environment": environment() | env}
        request |= {name: f"{folder}/{name}" for name in ("out", "err")}
        server().stdin.write(json.dumps(request) + "\n")
        status = int(server().stdout.readline())
        out, err = (Path(request[name]).read_text() for name in ("out", "err"))
    return subprocess.CompletedProcess(arguments, status, out, err)


def metrics(workdir: Path) -> list[dict]:
    """The rows of metrics.jsonl without the seconds, the one thing in them that no run can repeat."""
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def saved_bits(workdir: Path) -> tuple[int, dict[str, bytes]]:
    """Step and bytes of every array of the newest checkpoint: parameters, optimiser state and statistics."""
    config = load_config(workdir)
    (phase,) = build_method(config, frozen={}).phases
    template = jax.eval_shape(lambda: phase.init(jax.random.key(0), None, None))
    with Checkpoints(workdir / "checkpoints" / phase.name) as checkpoints:
        restored = checkpoints.restore(template)
    leaves = jax.tree_util.tree_leaves_with_path(restored.state)
    return restored.step, {jax.tree_util.keystr(path): bytes(jax.device_get(leaf).data) for path, leaf in leaves}


def status(arguments: Sequence[str]) -> int:
    """The exit status of a `gnl-jax` command, run in this process."""
    try:
        return gnl_jax_command(arguments)
    except SystemExit as stopped:
        return stopped.code
