"""Runs the programs that `peers.py` compares: fits and scores one at a time, start-up and speed in turns."""

import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from experiments.speed.turns import READY, take_turns
from gnl_jax.files import write_atomic

BATCHES = (1, 8)


class Program(NamedTuple):
    """How a method is run: the command, which the name of a JSON file is added to, and its environment.

    memory: settings of the C library while it fits (GLIBC_TUNABLES); "" for none.
    """

    command: tuple[str, ...]
    env: Mapping[str, str]
    memory: str = ""


class Turns(NamedTuple):
    """How often each program is started, how many turns of how many calls it takes at each batch size."""

    starts: int
    turns: int
    calls: int


def write_job(workdir: Path, name: str, job: Mapping[str, Any], *, action: str) -> Path:
    """Writes what a program is asked for, "fit", "score" or "serve" -> the JSON file."""
    step = f"{name}.{action}_{job['batch']}"
    path = workdir / f"{step}.json"
    files = {"model": os.fspath(workdir / f"{name}.model"), "result": os.fspath(workdir / f"{step}.result.json")}
    write_atomic(path, json.dumps({**job, **files, "action": action}))
    return path


def run_once(name: str, program: Program, path: Path) -> dict[str, Any]:
    """Runs a program to its end and returns what it wrote; ChildProcessError names one that failed."""
    result = Path(json.loads(path.read_text())["result"])
    result.unlink(missing_ok=True)
    status = subprocess.run([*program.command, os.fspath(path)], env=dict(program.env)).returncode
    if status:
        raise ChildProcessError(f"{name}: ended with exit status {status}")
    return json.loads(result.read_text())


def once(name: str, program: Program, job: Mapping[str, Any], workdir: Path, *, action: str) -> dict[str, Any]:
    """Does "fit" or "score", or returns what the same in the same folder took before."""
    done, before = workdir / f"{name}.{action}.done.json", {}
    if done.exists():
        before = json.loads(done.read_text())
    if before.get("job") == job:
        return before["result"]
    kept = {"GLIBC_TUNABLES": program.memory} if program.memory and action == "fit" else {}
    prepared = program._replace(env={**program.env, **kept})
    result = run_once(name, prepared, write_job(workdir, name, job, action=action))
    write_atomic(done, json.dumps({"job": job, "result": result}))
    return result


def start_up(name: str, program: Program, path: Path) -> float:
    """Seconds from the start of a process to its first score."""
    begun = time.perf_counter()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen([*program.command, os.fspath(path)], env=dict(program.env), text=True, **pipes)
    try:
        for line in process.stdout:
            if line.strip() == READY:
                return time.perf_counter() - begun
        raise ChildProcessError(f"{name}: ended with exit status {process.wait()}")
    finally:
        process.kill()
        process.communicate()


def measure(
    programs: Mapping[str, Program], jobs: Mapping[str, Mapping[str, Any]], workdir: Path, *, times: Turns
) -> dict[str, dict[str, Any]]:
    """Everything that is measured of each program; what is timed in turns comes last, with all models fitted.

    Args:
        programs: name to how it is run.
        jobs: name to what it is asked for, without action, model and result.
        workdir: for models, jobs and results; a fit and scores that it has are not repeated.
        times: how often to start and call.

    Returns:
        For each name "fit" (seconds, peak_bytes, file_bytes), "score" (scores, peak_bytes), "start_seconds" (a list)
        and "call_seconds" (batch size to a list, one for each turn).

    Raises:
        ChildProcessError: naming a program that failed.
    """
    results: dict[str, dict[str, Any]] = {}
    for name, program in programs.items():
        fitted, scored = (once(name, program, jobs[name], workdir, action=action) for action in ("fit", "score"))
        results[name] = {"fit": fitted, "score": scored, "start_seconds": [], "call_seconds": {}}
    # What ours compiled while fitting would make the first start a later one.
    compiled = workdir / "xla_start"
    shutil.rmtree(compiled, ignore_errors=True)
    programs = {
        name: program._replace(env={**program.env, "JAX_COMPILATION_CACHE_DIR": os.fspath(compiled)})
        for name, program in programs.items()
    }
    served = {}
    for batch in BATCHES:
        for name in programs:
            job = {**jobs[name], "images": jobs[name]["images"]["calibration"], "batch": batch}
            served[name, batch] = write_job(workdir, name, job, action="serve")
    for _ in range(times.starts):
        for name, program in programs.items():
            results[name]["start_seconds"].append(start_up(name, program, served[name, BATCHES[0]]))
    for batch in BATCHES:
        commands = {
            name: ([*program.command, os.fspath(served[name, batch])], program.env)
            for name, program in programs.items()
        }
        seconds = take_turns(commands, turns=times.turns, calls=times.calls, description=f"batch {batch}")
        for name in programs:
            results[name]["call_seconds"][str(batch)] = seconds[name]
    return results


def cost_row(name: str, measured: Mapping[str, Any]) -> list[str]:
    """Cells under `COST`: medians of the turns; the first start beside the median of the later ones."""
    one, eight = (statistics.median(measured["call_seconds"][str(batch)]) for batch in BATCHES)
    first, *later = measured["start_seconds"]
    sizes = (measured["fit"]["peak_bytes"], measured["score"]["peak_bytes"])
    return [
        name,
        f"{measured['fit']['seconds']:.0f}",
        f"{1000 * one:.0f}",
        f"{BATCHES[1] / eight:.1f}",
        *(f"{size / 2**30:.2f}" for size in sizes),
        f"{first:.1f}",
        f"{statistics.median(later):.1f}" if later else "–",
        f"{measured['fit']['file_bytes'] / 2**20:.0f}",
    ]


COST = (
    "method", "fit s", "batch 1 ms", "batch 8 images/s", "peak GiB fit", "peak GiB scoring", "first start s",
    "later starts s", "file MiB",
)  # fmt: skip
