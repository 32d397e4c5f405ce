"""results.json: one row per evaluated detector, checked when written and when read."""

import json
import math
import os
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from gnl_jax.training.workdir import write_atomic

if TYPE_CHECKING:
    from rich.table import Table

SCHEMA = 1


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return (_is_int(value) or isinstance(value, float)) and math.isfinite(value)


# What a value must be, in words and as a test. A dict of these is an object with exactly those fields;
# the key `...` stands for any names.
TEXT = ("text", lambda v: isinstance(v, str))
TEXT_OR_NULL = ("text or null", lambda v: v is None or isinstance(v, str))
INTEGER = ("an integer", _is_int)
COUNT = ("an integer from 0", lambda v: _is_int(v) and v >= 0)
COUNT_OR_NULL = ("an integer from 0, or null", lambda v: v is None or (_is_int(v) and v >= 0))
FRACTION = ("a number in [0, 1]", lambda v: _is_number(v) and 0 <= v <= 1)
FRACTION_OR_NULL = ("a number in [0, 1], or null", lambda v: v is None or (_is_number(v) and 0 <= v <= 1))
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
        names = value if ... in expected else expected
        if odd := value.keys() ^ names:
            raise ValueError(f"{field or 'file'}: unknown or missing field {sorted(odd)[0]!r}")
        for name in names:
            _check(value[name], expected.get(name, expected.get(...)), f"{field}.{name}".lstrip("."))


class Summary(NamedTuple):
    """Rows that differ in normal class and seed only.

    Fields:
        labels: "Dataset", "Method", "Teacher" and "Matching", in words.
        runs: number of pairs of class and seed; of two rows of one pair the later counts.
        auroc: test set to (mean, standard deviation), fractions. The mean is over classes, then over seeds;
            the deviation is that of the seeds, None with one seed or where the seeds cover different classes.
    """

    labels: dict[str, str]
    runs: int
    auroc: dict[str, tuple[float, float | None]]


def summarise(rows: Iterable[Mapping[str, Any]]) -> list[Summary]:
    """Averages the rows of each method over classes and seeds, in order of first appearance."""
    groups: dict[tuple[str, ...], dict[tuple[int, str], dict[str, float]]] = {}
    for row in rows:
        key = (row["dataset"], row["method"], row["teacher"], _matching_words(row["matching"]))
        runs = groups.setdefault(key, {})
        runs[row["seed"], row["normal"]] = {"id": row["auroc"]["id"]} | row["auroc"]["ood"]
    return [
        Summary(dict(zip(("Dataset", "Method", "Teacher", "Matching"), key)), len(runs), _means(runs))
        for key, runs in groups.items()
    ]


def _means(runs: Mapping[tuple[int, str], Mapping[str, float]]) -> dict[str, tuple[float, float | None]]:
    means = {}
    for test in dict.fromkeys(test for aurocs in runs.values() for test in aurocs):
        seeds: dict[int, dict[str, float]] = {}
        for (seed, normal), aurocs in runs.items():
            if test in aurocs:
                seeds.setdefault(seed, {})[normal] = aurocs[test]
        per_seed = [statistics.fmean(classes.values()) for classes in seeds.values()]
        comparable = len(seeds) > 1 and len({frozenset(classes) for classes in seeds.values()}) == 1
        means[test] = (statistics.fmean(per_seed), statistics.stdev(per_seed) if comparable else None)
    return means


def _matching_words(matching: Mapping[str, Any]) -> str:
    words = [matching["kind"], matching["anchor"]]
    words += [f"{name} {matching[name]:g}" for name in ("alpha", "k") if matching[name] is not None]
    return " ".join(word for word in words if word)


def results_cells(rows: Iterable[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and cells of the results table: a method a line, AUROC in percent on ID and on each shift.

    Labels that all lines share are left out, the method's name excepted.
    """
    summaries = summarise(rows)
    labels = ["Dataset", "Method", "Teacher", "Matching"]
    labels = [name for name in labels if name == "Method" or len({s.labels[name] for s in summaries}) > 1]
    tests = list(dict.fromkeys(test for summary in summaries for test in summary.auroc))
    header = [*labels, "Runs", *("ID" if test == "id" else test for test in tests)]
    cells = [
        [*(s.labels[name] for name in labels), str(s.runs), *(_percent(s.auroc.get(test)) for test in tests)]
        for s in summaries
    ]
    return header, cells


def _percent(value: tuple[float, float | None] | None) -> str:
    if value is None:
        return "–"
    mean, deviation = value
    return f"{100 * mean:.2f}" + ("" if deviation is None else f" ± {100 * deviation:.2f}")


def results_table(rows: Iterable[Mapping[str, Any]]) -> "Table":
    """The results table for a terminal; rows as `read_results` gives them."""
    from rich.table import Table

    header, cells = results_cells(rows)
    table = Table(title="AUROC (%)")
    for name in header:
        table.add_column(name)
    for line in cells:
        table.add_row(*line)
    return table


def print_results(rows: Iterable[Mapping[str, Any]], *, file: TextIO | None = None) -> None:
    """Prints the results table: drawn on a terminal, else as plain text with columns two spaces apart."""
    file = file or sys.stdout
    if file.isatty():
        from rich.console import Console

        Console(file=file).print(results_table(rows))
        return
    header, cells = results_cells(rows)
    widths = [max(len(cell) for cell in column) for column in zip(header, *cells)]
    for line in [header, *cells]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip(), file=file)
