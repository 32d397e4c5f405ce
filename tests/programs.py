"""The programs in experiments/ as a user runs them, each in a process of its own, and what they left in a folder."""

import atexit
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import jax

from gnl_jax.config_io import load_config
from gnl_jax.methods.build import build_method
from gnl_jax.training.checkpoint import Checkpoints

ROOT = Path(__file__).parent.parent
DIGITS = f"--config={ROOT}/configs/digits.py"
# Three steps an epoch, the last one with two images in it.
SMALL = (f"{DIGITS}:3", "--config.dataset.limit_train=10", "--config.train.batch_size=4")


@functools.cache
def environment() -> dict[str, str]:
    """Compiled once for all tests, in a cache of their own."""
    cache = tempfile.mkdtemp(prefix="gnl_jax_xla_")
    atexit.register(shutil.rmtree, cache, ignore_errors=True)
    given = {name: value for name, value in os.environ.items() if name != "GNL_JAX_TEACHER"}
    return given | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
        "MPLBACKEND": "Agg",
    }


def command(program: str, *arguments: str) -> list[str]:
    return [sys.executable, str(ROOT / "experiments" / f"{program}.py"), *map(str, arguments)]


def run(program: str, *arguments: str, **env: str) -> subprocess.CompletedProcess:
    """Runs experiments/PROGRAM.py to its end; stdout and stderr as text."""
    return subprocess.run(
        command(program, *arguments), env=environment() | env, capture_output=True, text=True, timeout=300
    )


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
