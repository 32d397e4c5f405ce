"""results.json: one row per evaluated detector, checked when written and when read."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gnl_jax.files import write_atomic

SCHEMA = 1


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return (_is_int(value) or isinstance(value, float)) and math.isfinite(value)


# What a value must be, in words and as a test. A dict of these is an object with exactly those fields;
# the key `...` stands for any names, and a field whose name ends in "?" may be missing.
TEXT = ("text", lambda v: isinstance(v, str))
TEXT_OR_NULL = ("text or null", lambda v: v is None or isinstance(v, str))
INTEGER = ("an integer", _is_int)
COUNT = ("an integer from 0", lambda v: _is_int(v) and v >= 0)
COUNT_OR_NULL = ("an integer from 0, or null", lambda v: v is None or (_is_int(v) and v >= 0))
FRACTION = ("a number in [0, 1]", lambda v: _is_number(v) and 0 <= v <= 1)
FRACTION_OR_NULL = ("a number in [0, 1], or null", lambda v: v is None or (_is_number(v) and 0 <= v <= 1))
INTERVAL = (
    "[low, high], two numbers in [0, 1] in order",
    lambda v: isinstance(v, list) and len(v) == 2 and all(map(_is_number, v)) and 0 <= v[0] <= v[1] <= 1,
)
DURATION = ("seconds from 0", lambda v: _is_number(v) and v >= 0)
ROW = {
    "method": TEXT,
    "dataset": TEXT,
    "normal": TEXT,
    "seed": INTEGER,
    "teacher": TEXT,
    "matching": {"kind": TEXT, "alpha": FRACTION_OR_NULL, "anchor": TEXT_OR_NULL, "k": COUNT_OR_NULL},
    "steps": COUNT,
    "auroc": {"id": FRACTION, "ood": {...: FRACTION}},
    "interval?": {...: INTERVAL},
    "metrics?": {...: {...: FRACTION}},
    "pixel?": {...: {...: FRACTION}},
    "n_test": {...: COUNT},
    "seconds": {...: DURATION},
    "device": TEXT,
    "versions": {...: TEXT},
    "config_sha": TEXT,
}


def make_row(
    *,
    method: str,
    dataset: str,
    normal: str,
    seed: int,
    teacher: str,
    matching: Mapping[str, Any],
    steps: int,
    auroc_id: float,
    auroc_ood: Mapping[str, float],
    n_test: Mapping[str, int],
    seconds: Mapping[str, float],
    device: str,
    versions: Mapping[str, str],
    config_sha: str,
    interval: Mapping[str, Sequence[float]] | None = None,
    metrics: Mapping[str, Mapping[str, float]] | None = None,
    pixel: Mapping[str, Mapping[str, float]] | None = None,
) -> dict[str, Any]:
    """One evaluated detector as a row of results.json.

    Args:
        method, dataset, normal, seed: what was run.
        teacher: architecture and weights.
        matching: of the test features: "kind", and "alpha", "anchor", "k", which may be None.
        steps: optimiser steps taken.
        auroc_id: on the test set "id", a fraction in [0, 1].
        auroc_ood: shift to AUROC.
        n_test: test set ("id" or a shift) to number of images.
        seconds: what was timed (such as "train", "score") to its duration.
        device: in words.
        versions: package to version.
        config_sha: hash of the resolved configuration.
        interval: test set to the interval of its AUROC, [low, high].
        metrics: other metric of the scores (such as "average_precision") to test set to a fraction in [0, 1].
        pixel: metric of the score maps (such as "auroc", "aupro_0.30") to test set to a fraction in [0, 1].

    The last three fields are left out where there is nothing in them, as in rows of earlier versions.

    Raises:
        ValueError: a field of a wrong type or range, NaN included.
    """
    row = {
        "method": method,
        "dataset": dataset,
        "normal": normal,
        "seed": seed,
        "teacher": teacher,
        "matching": dict(matching),
        "steps": steps,
        "auroc": {"id": auroc_id, "ood": dict(auroc_ood)},
        **({"interval": {test: list(bounds) for test, bounds in interval.items()}} if interval else {}),
        **({"metrics": {metric: dict(values) for metric, values in metrics.items()}} if metrics else {}),
        **({"pixel": {metric: dict(values) for metric, values in pixel.items()}} if pixel else {}),
        "n_test": dict(n_test),
        "seconds": dict(seconds),
        "device": device,
        "versions": dict(versions),
        "config_sha": config_sha,
    }
    _check(row, ROW, "row")
    return row


def write_results(path: str | os.PathLike, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes rows of `make_row` atomically; `ValueError` names a field that does not follow the schema."""
    content = {"schema": SCHEMA, "rows": list(rows)}
    _check(content, {"schema": INTEGER, "rows": [ROW]}, "")
    write_atomic(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def read_results(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Reads the rows of a results.json.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not JSON, another schema, or a wrong field; the file and the field are named.
    """
    try:
        content = json.loads(Path(path).read_bytes())
        if isinstance(content, dict) and content.get("schema") != SCHEMA:
            raise ValueError(f"schema: got {content.get('schema')!r}, expected {SCHEMA}")
        _check(content, {"schema": INTEGER, "rows": [ROW]}, "")
    except ValueError as error:  # broken JSON and broken UTF-8 are ValueErrors too
        raise ValueError(f"{os.fspath(path)}: {error}") from error
    return content["rows"]


def _check(value: Any, expected: Any, field: str) -> None:
    if isinstance(expected, tuple):
        words, holds = expected
        if not holds(value):
            raise ValueError(f"{field}: got {value!r}, expected {words}")
    elif isinstance(expected, list):
        if not isinstance(value, list):
            raise ValueError(f"{field}: got {value!r}, expected a list")
        for position, item in enumerate(value):
            _check(item, expected[0], f"{field}[{position}]")
    else:
        if not isinstance(value, dict):
            raise ValueError(f"{field or 'file'}: got {value!r}, expected an object")
        fields = dict.fromkeys(value, expected[...]) if ... in expected else _fields(expected, value)
        if odd := value.keys() ^ fields:
            raise ValueError(f"{field or 'file'}: unknown or missing field {sorted(odd)[0]!r}")
        for name in fields:
            _check(value[name], fields[name], f"{field}.{name}".lstrip("."))


def _fields(expected: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    """What each field of an object must be, without the optional ones that are not there."""
    return {n.removesuffix("?"): e for n, e in expected.items() if not n.endswith("?") or n[:-1] in value}
