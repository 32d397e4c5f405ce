"""scores.npz: what a detector said of every test image, so that pictures and metrics need no second evaluation."""

import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gnl_jax.evaluation.metrics import check_finite
from gnl_jax.files import write_atomic


class Scored(NamedTuple):
    """What was said of a test set: score float32 [n], higher is more anomalous, and the truth, anomalous bool [n]."""

    score: np.ndarray
    anomalous: np.ndarray


def write_scores(path: str | os.PathLike, tests: Sequence[Mapping[str, Scored]]) -> None:
    """Writes the scores of some rows of results.json, in their order, each a mapping of test set to scores; atomically.

    The same scores give the same bytes. Arrays are named "ROW/TEST SET/score" and "ROW/TEST SET/anomalous".

    Raises ValueError naming an array of another type or shape than `Scored` says, or a score that is not finite.
    """
    arrays: dict[str, Any] = {}  # Any: a type checker sees no `allow_pickle` in it, which NumPy has from 2.1 on
    for row, cases in enumerate(tests):
        for name, scored in cases.items():
            check_scored(f"{row}/{name}", scored)
            arrays |= {f"{row}/{name}/{field}": array for field, array in scored._asdict().items()}
    content = io.BytesIO()
    np.savez(content, **arrays)
    write_atomic(path, content.getvalue())


def read_scores(path: str | os.PathLike) -> list[dict[str, Scored]]:
    """Reads what `write_scores` wrote: for each row, test set to scores.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file of another kind, or an array of another name, type or shape; file and array are named.
    """
    try:
        file = np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("got a single array, expected the scores of an evaluation")
        return _rows({name: file[name] for name in file.files})
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error


def _rows(arrays: Mapping[str, np.ndarray]) -> list[dict[str, Scored]]:
    found: dict[int, dict[str, dict[str, np.ndarray]]] = {}
    for name, array in arrays.items():
        row, _, rest = name.partition("/")
        test, _, field = rest.rpartition("/")
        if not row.isdecimal() or not test or field not in Scored._fields:
            raise ValueError(f"{name}: got an array of this name, expected ROW/TEST SET/score or .../anomalous")
        found.setdefault(int(row), {}).setdefault(test, {})[field] = array
    if sorted(found) != list(range(len(found))):
        raise ValueError(f"rows: got {sorted(found)}, expected 0 to {len(found) - 1}")
    return [{test: _scored(f"{row}/{test}", found[row][test]) for test in found[row]} for row in range(len(found))]


def _scored(name: str, fields: Mapping[str, np.ndarray]) -> Scored:
    if missing := [field for field in Scored._fields if field not in fields]:
        raise ValueError(f"{name}/{missing[0]}: missing")
    scored = Scored(**fields)
    check_scored(name, scored)
    return scored


def check_scored(name: str, scored: Scored) -> None:
    """ValueError, naming the array of the test set `name`, unless types and shapes are those of `Scored`."""
    score, anomalous = scored
    if score.dtype != np.float32 or score.ndim != 1:
        raise ValueError(f"{name}/score: got {score.dtype} {score.shape}, expected float32 [n]")
    if anomalous.dtype != np.bool_ or anomalous.shape != score.shape:
        raise ValueError(f"{name}/anomalous: got {anomalous.dtype} {anomalous.shape}, expected bool [{len(score)}]")
    check_finite(score)
