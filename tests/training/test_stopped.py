"""One kill and one signal: the same command goes on and ends in the same bits (test_resume.py: many, a real method)."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import programs
import tiny_method

from gnl_jax.training.checkpoint import Checkpoints

STEPS = 200  # four an epoch


def start(workdir: Path, **train) -> subprocess.Popen:
    settings = json.dumps({"epochs": STEPS // 4} | train)
    command = [sys.executable, Path(__file__).parent / "tiny_program.py", workdir, "7", "{}", settings]
    return subprocess.Popen(
        command, env=programs.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def newest(workdir: Path) -> int:
    """The newest whole checkpoint; 0 without one."""
    folders = (workdir / "checkpoints" / "only").glob("*")
    return max((int(folder.name) for folder in folders if folder.name.isdecimal()), default=0)


def stop(workdir: Path, number: int) -> tuple[int, str]:
    """Sends a signal once two more checkpoints are there; status and stderr."""
    before, deadline = newest(workdir), time.monotonic() + 600
    process = start(workdir)
    while newest(workdir) < before + 2:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(number)
    _, said = process.communicate(timeout=600)
    assert before < newest(workdir) < STEPS  # there is something to go on from, and something left to do
    return process.returncode, said


def end(workdir: Path) -> None:
    process = start(workdir, checkpoint_seconds=1000.0)  # saved once
    out, said = process.communicate(timeout=600)
    assert (process.returncode, out) == (0, f"{STEPS}\n"), said


def saved(workdir: Path):
    with Checkpoints(workdir / "checkpoints" / "only") as checkpoints:
        return checkpoints.restore(tiny_method.init(jax.random.key(0), None, None))


def test_killed_then_stopped_by_a_signal(tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    end(whole)
    assert stop(stopped, signal.SIGKILL)[0] == -signal.SIGKILL
    status, said = stop(stopped, signal.SIGTERM)
    assert status == 128 + signal.SIGTERM
    assert f"stopped by signal 15 at step {newest(stopped)}; run the same command to resume\n" in said
    end(stopped)
    assert programs.metrics(stopped) == programs.metrics(whole)
    assert saved(stopped).step == saved(whole).step == STEPS
    jax.tree.map(np.testing.assert_array_equal, saved(stopped).state, saved(whole).state)
