"""A save stopped at any of its system calls, by a kill or by a full disk, leaves a folder that restores."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from crash_server import state

from gnl_jax.training.checkpoint import Checkpoints

HERE = Path(__file__).parent
KILL, FULL = 0, 1


@pytest.fixture(scope="module")
def stop_save(tmp_path_factory):
    """stop_save(folder, step, call, mode) -> (status, calls made, message), as crash_server.py answers."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler (cc) for the library that stops system calls")
    shim = tmp_path_factory.mktemp("shim") / "shim.so"
    subprocess.run([compiler, "-O1", "-shared", "-fPIC", "-o", shim, HERE / "crash_shim.c", "-ldl"], check=True)
    server = subprocess.Popen(
        [sys.executable, HERE / "crash_server.py"],
        # One OpenBLAS thread is none beside the main one, so that forking is safe.
        env=os.environ | {"LD_PRELOAD": str(shim), "OPENBLAS_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
    )

    def stop_save(folder: Path, step: int, call: int, mode: int) -> tuple[int, int, str]:
        server.stdin.write(f"{folder} {step} {call} {mode}\n")
        status, calls, *message = server.stdout.readline().rstrip("\n").split(" ", 2)
        return int(status), int(calls or 0), " ".join(message)

    yield stop_save
    server.stdin.close()
    assert server.wait(timeout=30) == 0
    server.stdout.close()


@pytest.fixture(scope="module")
def two_saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_saved") / "checkpoints"
    with Checkpoints(folder) as checkpoints:
        for step in (1, 2):
            checkpoints.save(step, state(step), {"step": step})
    return folder


def check_restores(folder: Path, *, steps: tuple[int, ...]) -> int:
    with Checkpoints(folder) as checkpoints:
        restored = checkpoints.restore(state(0))
    assert restored.step in steps
    assert restored.skipped == ()
    assert restored.config == {"step": restored.step}
    saved = state(restored.step)
    np.testing.assert_array_equal(restored.state["params"]["kernel"], saved["params"]["kernel"], strict=True)
    np.testing.assert_array_equal(restored.state["params"]["bias"], saved["params"]["bias"], strict=True)
    assert restored.state["count"] == saved["count"]
    return restored.step


@pytest.mark.slow
def test_killed_at_every_call(stop_save, two_saved, tmp_path):
    call, survived, restored = 0, 0, []
    while survived < 2:  # the number of calls varies a little with the threads' timing
        call += 1
        folder = tmp_path / str(call)
        shutil.copytree(two_saved, folder)
        status, _, _ = stop_save(folder, 3, call, KILL)
        assert status in (0, -9)
        survived = survived + 1 if status == 0 else 0
        restored.append(check_restores(folder, steps=(2, 3) if status else (3,)))
        with Checkpoints(folder) as checkpoints:
            checkpoints.save(4, state(4), {"step": 4})
        check_restores(folder, steps=(4,))
        assert sorted(path.name for path in folder.iterdir()) == sorted({str(restored[-1]), "4"})
        shutil.rmtree(folder)
    # Some 50 calls write the new step and some 20 remove the oldest; a shim that sees too few proves nothing.
    assert restored.count(2) > 40
    assert restored.count(3) > 15


@pytest.mark.slow
def test_disk_full_from_every_call_on(stop_save, two_saved, tmp_path):
    call, saved = 0, 0
    while saved < 2:
        call += 1
        folder = tmp_path / str(call)
        shutil.copytree(two_saved, folder)
        status, _, message = stop_save(folder, 3, call, FULL)
        assert status in (0, 3)
        saved = saved + 1 if status == 0 else 0
        if status == 3:
            assert message.startswith(f"{folder}: checkpoint not written")
            assert "No space left on device" in message
            assert message.endswith("the last good step is 2")
        check_restores(folder, steps=(3,))
        shutil.rmtree(folder)
    assert call > 40
