"""Programs that take turns: each is timed alone, and none outlives the measurement."""

import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.speed import turns
from experiments.speed.turns import take_turns

ROOT = Path(__file__).parent.parent.parent
# Sleeps for as long as it is told at each call, and writes down when each began and ended, by whom.
PROGRAM = """
import sys, time
from experiments.speed.turns import serve
name, seconds, log = sys.argv[1:]
def call():
    begun = time.monotonic()
    time.sleep(float(seconds))
    with open(log, "a") as file:
        print(name, begun, time.monotonic(), file=file)
print("something said before it is ready")
serve(call)
"""


def program(name: str, *, seconds: float, log: Path) -> tuple[list[str], dict[str, str]]:
    return [sys.executable, "-c", PROGRAM, name, str(seconds), str(log)], dict(os.environ, PYTHONPATH=str(ROOT))


def test_each_in_its_turn_and_never_two_at_once(tmp_path):
    log = tmp_path / "log"
    programs = {name: program(name, seconds=s, log=log) for name, s in (("slow", 0.2), ("quick", 0.01))}
    seconds = take_turns(programs, turns=3, calls=2)
    calls = [line.split() for line in log.read_text().splitlines()]
    assert [name for name, *_ in calls] == ["slow", "quick", *["slow", "slow", "quick", "quick"] * 3]
    ends = [float(end) for *_, end in calls]
    assert all(float(begun) >= end for (_, begun, _), end in zip(calls[1:], ends))
    # What a program says of a turn: no less than its calls took, no more than there was between the others' calls.
    begins = [float(begun) for _, begun, _ in calls] + [math.inf]
    for turn in range(3):
        for i, name in enumerate(programs, 1):
            first = 4 * turn + 2 * i
            taken = 2 * seconds[name][turn]
            assert ends[first + 1] - begins[first] <= taken <= begins[first + 2] - ends[first - 1]


@pytest.fixture(autouse=True)
def no_rest(monkeypatch):
    monkeypatch.setattr(turns, "REST", 0)


READY = "print('ready', flush=True); "


@pytest.mark.parametrize("code", ["exit(3)", READY + "exit(3)", READY + "input(); exit(3)"])
def test_one_that_ends_is_named_and_the_others_are_ended(tmp_path, monkeypatch, code):
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(turns.subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    broken = [sys.executable, "-c", code], dict(os.environ)
    programs = {"sleeper": program("sleeper", seconds=0.3, log=tmp_path / "log"), "broken": broken}
    with pytest.raises(ChildProcessError, match="broken: ended with exit status 3"):
        take_turns(programs, turns=1, calls=1)
    assert [process.returncode for process in started] == [-signal.SIGKILL, 3]
