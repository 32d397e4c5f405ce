"""Rows of results.json averaged over classes and seeds, as tables."""

import statistics
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

if TYPE_CHECKING:
    from rich.table import Table

# What rows may have for each test set, and the title of its table; only "image" is in every row.
METRICS = {
    "image": "AUROC (%)",
    "false_alarm_0.05": "Normal images (%) above the threshold that 5 % of those of ID are above",
    "auroc": "Pixel AUROC (%)",
    "aupro_0.30": "AUPRO up to 30 % false positives (%)",
    "aupro_0.05": "AUPRO up to 5 % false positives (%)",
}


class Summary(NamedTuple):
    """Rows that differ in normal class and seed only.

    Attributes:
        labels: "Dataset", "Method", "Teacher" and "Matching", in words.
        runs: number of pairs of class and seed; of two rows of one pair the later counts.
        values: test set to (mean, standard deviation), fractions. The mean is over classes, then over seeds;
            the deviation is that of the seeds, None with one seed or where the seeds cover different classes.
    """

    labels: dict[str, str]
    runs: int
    values: dict[str, tuple[float, float | None]]


def summarise(rows: Iterable[Mapping[str, Any]], *, metric: str = "image") -> list[Summary]:
    """Averages a metric (a key of `METRICS`) of the rows that have it, each method's over classes and seeds.

    The methods keep the order of their first appearance.
    """
    groups: dict[tuple[str, ...], dict[tuple[int, str], Mapping[str, float]]] = {}
    for row in rows:
        if values := _values(row, metric):
            key = (row["dataset"], row["method"], row["teacher"], _matching_words(row["matching"]))
            groups.setdefault(key, {})[row["seed"], row["normal"]] = values
    return [
        Summary(dict(zip(("Dataset", "Method", "Teacher", "Matching"), key)), len(runs), _means(runs))
        for key, runs in groups.items()
    ]


def _values(row: Mapping[str, Any], metric: str) -> Mapping[str, float]:
    """Test set to value, empty where a row lacks the metric."""
    if metric == "image":
        return {"id": row["auroc"]["id"]} | row["auroc"]["ood"]
    return row.get("metrics", {}).get(metric) or row.get("pixel", {}).get(metric, {})


def _means(runs: Mapping[tuple[int, str], Mapping[str, float]]) -> dict[str, tuple[float, float | None]]:
    means = {}
    for test in dict.fromkeys(test for values in runs.values() for test in values):
        seeds: dict[int, dict[str, float]] = {}
        for (seed, normal), values in runs.items():
            if test in values:
                seeds.setdefault(seed, {})[normal] = values[test]
        per_seed = [statistics.fmean(classes.values()) for classes in seeds.values()]
        comparable = len(seeds) > 1 and len({frozenset(classes) for classes in seeds.values()}) == 1
        means[test] = (statistics.fmean(per_seed), statistics.stdev(per_seed) if comparable else None)
    return means


def row_labels(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """A name for each row: method and matching, with dataset, normal class and seed where rows differ in them."""
    rows = list(rows)
    differing = [name for name in ("dataset", "normal", "seed") if len({row[name] for row in rows}) > 1]
    labels = []
    for row in rows:
        kind, alpha = row["matching"]["kind"], row["matching"]["alpha"]
        words = [row["method"].upper() + ("" if kind == "none" else f" + {kind} {alpha:g}")]
        labels.append(", ".join(words + [f"seed {row[n]}" if n == "seed" else str(row[n]) for n in differing]))
    return labels


def _matching_words(matching: Mapping[str, Any]) -> str:
    words = [matching["kind"], matching["anchor"]]
    words += [f"{name} {matching[name]:g}" for name in ("alpha", "k") if matching[name] is not None]
    return " ".join(word for word in words if word)


def results_cells(summaries: Iterable[Summary]) -> tuple[list[str], list[list[str]]]:
    """Header and cells of a table: a method a line, percent on ID and on each shift.

    Labels that all lines share are left out, the method's name excepted.
    """
    summaries = list(summaries)
    labels = ["Dataset", "Method", "Teacher", "Matching"]
    labels = [name for name in labels if name == "Method" or len({s.labels[name] for s in summaries}) > 1]
    tests = list(dict.fromkeys(test for summary in summaries for test in summary.values))
    header = [*labels, "Runs", *("ID" if test == "id" else test for test in tests)]
    cells = [
        [*(s.labels[name] for name in labels), str(s.runs), *(_percent(s.values.get(test)) for test in tests)]
        for s in summaries
    ]
    return header, cells


def _percent(value: tuple[float, float | None] | None) -> str:
    if value is None:
        return "–"
    mean, deviation = value
    return f"{100 * mean:.2f}" + ("" if deviation is None else f" ± {100 * deviation:.2f}")


def results_table(rows: Iterable[Mapping[str, Any]], *, metric: str = "image") -> "Table":
    """A table of one metric for a terminal; rows as `read_results` gives them."""
    from rich.markup import escape
    from rich.table import Table

    header, cells = results_cells(summarise(rows, metric=metric))
    table = Table(title=METRICS[metric])
    for name in header:
        table.add_column(escape(name))
    for line in cells:
        table.add_row(*map(escape, line))
    return table


def print_results(rows: Iterable[Mapping[str, Any]], *, file: TextIO | None = None) -> None:
    """Prints a table for each metric that a row has: drawn on a terminal, else as text, columns two spaces apart."""
    file, rows = file or sys.stdout, list(rows)
    present = [metric for metric in METRICS if any(_values(row, metric) for row in rows)]
    if file.isatty():
        from rich.console import Console

        console = Console(file=file)
        for metric in present:
            console.print(results_table(rows, metric=metric))
        return
    for metric in present:
        if metric != "image":
            print(f"\n{METRICS[metric]}", file=file)
        header, cells = results_cells(summarise(rows, metric=metric))
        widths = [max(len(cell) for cell in column) for column in zip(header, *cells)]
        for line in [header, *cells]:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip(), file=file)
