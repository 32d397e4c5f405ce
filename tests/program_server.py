"""Runs programs of experiments/ in children of a process that has imported what takes seconds to import.

A child is a process of its own, with its arguments, environment, streams and exit status. It reads lines of JSON,
{"program", "arguments", "environment", "out", "err"}, and answers each with the status.
"""

import importlib
import json
import os
import runpy
import signal
import sys
from pathlib import Path

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
SECONDS = 300  # an alarm ends whatever was not refused after all
MODULES = (
    *("gnl_jax.console", "gnl_jax.training.loop", "gnl_jax.evaluation.evaluate", "gnl_jax.methods.build"),
    *("ml_collections.config_flags", "matplotlib.pyplot"),
)


def become(request: dict) -> None:
    """Turns this process into the program, for SECONDS at most; does not return."""
    signal.alarm(SECONDS)
    for name, number in (("out", 1), ("err", 2)):
        file = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(request["environment"])
    program = str(EXPERIMENTS / f"{request['program']}.py")
    sys.argv = [program, *request["arguments"]]
    sys.path[0] = str(EXPERIMENTS)
    runpy.run_path(program, run_name="__main__")
    sys.exit(0)


def main() -> None:
    for name in MODULES:
        importlib.import_module(name)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            return become(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
