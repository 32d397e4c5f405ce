"""The part of one program that `peers.py` compares: fits, scores, or is timed. Needs Python and NumPy only."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.speed.turns import serve

Job = Mapping[str, Any]  # what `peers_measure.py` asks for
Score = Callable[[np.ndarray], np.ndarray]


class System(NamedTuple):
    """How a method is fitted and loaded.

    Attributes:
        fit: reads the images that `job` names, fits, scores the calibration images and writes the file `job["model"]`.
        load: reads that file -> a function from images uint8 [n s s 3] to scores float [n], higher is more anomalous.
    """

    fit: Callable[[Job], None]
    load: Callable[[Job], Score]


def main(systems: Mapping[str, System]) -> None:
    """Does what the JSON file named on the command line asks for, with the system that it names."""
    job = json.loads(Path(sys.argv[1]).read_text())
    {"fit": _fit, "score": _score, "serve": _serve}[job["action"]](systems[job["method"]], job)


def peak_bytes() -> int:
    """This process's greatest resident memory so far (Linux).

    Not getrusage's maximum: a process inherits that from the one that started it.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise OSError("/proc/self/status: got no line VmHWM, expected one")


def _fit(system: System, job: Job) -> None:
    begun = time.perf_counter()
    system.fit(job)
    seconds = time.perf_counter() - begun
    _write(job, {"seconds": seconds, "peak_bytes": peak_bytes(), "file_bytes": Path(job["model"]).stat().st_size})


def _score(system: System, job: Job) -> None:
    score, batch = system.load(job), job["batch"]
    scores = {}
    for name, path in job["images"].items():
        images = np.load(path)
        parts = [np.ravel(score(images[i : i + batch])) for i in range(0, len(images), batch)]
        scores[name] = np.concatenate(parts).astype(float).tolist()
    _write(job, {"scores": scores, "peak_bytes": peak_bytes()})


def _serve(system: System, job: Job) -> None:
    images, score = np.load(job["images"])[: job["batch"]], system.load(job)
    serve(lambda: score(images))


def _write(job: Job, result: Mapping[str, Any]) -> None:
    Path(job["result"]).write_text(json.dumps(result))
