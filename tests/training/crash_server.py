"""Saves one checkpoint per forked child, each stopped at a chosen system call, for test_checkpoint_crash.py.

Everything is imported and no thread started before the first fork, so a child costs a tenth of a process.
Reads lines "folder step call mode" and answers "status calls message". Status 0: saved; -9: killed; 3: it
raised CheckpointError(message), restored the step before and, once there was room, saved the step after all.
"""

import ctypes
import os
import sys
import warnings

import numpy as np

from gnl_jax.training.checkpoint import CheckpointError, Checkpoints

warnings.filterwarnings("ignore", message=".*os.fork", category=RuntimeWarning)


def state(step: int) -> dict:
    """A small state with several types and a nested group; every value depends on the step."""
    rng = np.random.default_rng(step)
    return {
        "params": {
            "kernel": rng.standard_normal((3, 3, 8, 16), np.float32),
            "bias": np.full(16, step, np.float32),
        },
        "count": np.int32(step),
    }


def save(folder: str, step: int, call: int, mode: int, report: int) -> int:
    shim = ctypes.CDLL(None)
    shim.shim_arm(folder.encode(), ctypes.c_long(call), mode)
    checkpoints = Checkpoints(folder)
    message = ""
    try:
        checkpoints.save(step, state(step), {"step": step})
        checkpoints.wait()
    except CheckpointError as error:
        message = str(error).replace("\n", " ")
    os.write(report, f"{shim.shim_calls()} {message}".encode())
    if not message:
        return 0
    shim.shim_arm(b"", ctypes.c_long(0), 0)
    if checkpoints.restore(state(step)).step != step - 1:
        return 4
    checkpoints.save(step, state(step), {"step": step})
    checkpoints.wait()
    return 3 if checkpoints.restore(state(step)).step == step else 5


def main() -> None:
    threads = os.listdir("/proc/self/task")
    if len(threads) != 1:
        raise RuntimeError(f"{len(threads)} threads before the first fork, expected 1")
    for line in sys.stdin:
        folder, *numbers = line.split()
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(2, 1)
            status = 1
            try:
                status = save(folder, *map(int, numbers), writer)
            finally:
                os._exit(status)
        os.close(writer)
        _, status = os.waitpid(child, 0)
        with os.fdopen(reader) as report:
            print(os.waitstatus_to_exitcode(status), report.read(), flush=True)


if __name__ == "__main__":
    main()
