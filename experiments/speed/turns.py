"""Programs side by side that take turns, so that a noisy machine is as unfair to one as to another."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

from gnl_jax.progress import progress_bar

READY = "ready"
REST = 0.5  # seconds before each turn, in which the threads of the program before stop waiting actively


def serve(call: Callable[[], object], *, clock: Callable[[], float] = time.perf_counter) -> None:
    """One of the programs: calls once, says it is ready, then for every line "COUNT" prints the seconds of a call.

    `call` returns when its work is done. It ends with its input. On a busy machine `clock` may count the process's own
    time (`time.process_time`).
    """
    call()
    print(READY, flush=True)
    for line in sys.stdin:
        count, begun = int(line), clock()
        for _ in range(count):
            call()
        print((clock() - begun) / count, flush=True)


def take_turns(
    programs: Mapping[str, tuple[list[str], Mapping[str, str]]], *, turns: int, calls: int, description: str = "turns"
) -> dict[str, list[float]]:
    """Starts programs that `serve`, each a command and its environment; each one's seconds of a call, turn by turn.

    Never two at once, not even as they start; in a turn each makes `calls` calls. None is left running, however this
    ends. ChildProcessError names a program that ended before it was told to.
    """
    processes: dict[str, subprocess.Popen] = {}

    def answer(name: str) -> str:
        line = processes[name].stdout.readline()
        if not line:
            raise ChildProcessError(f"{name}: ended with exit status {processes[name].wait()}")
        return line.strip()

    seconds: dict[str, list[float]] = {name: [] for name in programs}
    try:
        for name, (command, env) in programs.items():
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            processes[name] = subprocess.Popen(command, env=dict(env), text=True, **pipes)
            while answer(name) != READY:
                pass
        with progress_bar(description, turns) as advance:
            for _ in range(turns):
                for name, process in processes.items():
                    time.sleep(REST)
                    with contextlib.suppress(BrokenPipeError):  # it ended: there is no answer, either
                        print(calls, file=process.stdin, flush=True)
                    seconds[name].append(float(answer(name)))
                advance(1, "")
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()
    return seconds
