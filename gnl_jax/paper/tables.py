"""The paper's tables from rows of results.json, the paper's numbers beside ours."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from gnl_jax.paper.published import MEAN, PaperCell, PaperTable, paper_table
from gnl_jax.paper.rules import CLASSES, NOT_IN_PAPER, Mean, Row, mean_of, select, values_on

TIMING = 7  # the table that is measured, not collected
COMPARED = "deep_svdd"  # has a line in every table that compares detectors, and in no ablation


class TableCell(NamedTuple):
    """Both numbers of a cell.

    Attributes:
        measured: ours; None where there is no result.
        paper: the paper's; None where it has none.
        of_classes: how many classes ours should be the mean of.
    """

    measured: Mean | None
    paper: PaperCell | None
    of_classes: int


class Table(NamedTuple):
    """A table with both numbers.

    Attributes:
        paper: caption, columns and the paper's own lines.
        labels: name of a row to its label: the paper's, then those of `NOT_IN_PAPER` that have a result.
        cells: (row name, normal class or `MEAN`, test set) to both numbers.
        scale: what ours are multiplied with to have the paper's unit: 100 for fractions, 1 for seconds.
        decimals: to show.
        notes: how ours were made, and what is missing from them.
    """

    paper: PaperTable
    labels: dict[str, str]
    cells: dict[tuple[str, str, str], TableCell]
    scale: float
    decimals: int
    notes: tuple[str, ...]


def build_table(number: int, rows: Sequence[Row], *, anchor: str | None = None) -> Table:
    """Table 1 to 6 or 8 to 11 from rows of results.json, of other datasets too.

    anchor: of matching, "first", "random" or "barycentre"; needed where rows have several.

    Raises:
        ValueError: another number; no row that belongs in the table; rows that contradict each other.
    """
    paper = paper_table(number)
    if number == TIMING:
        raise ValueError("table 7: its numbers are timings of this device, expected `time_table`")
    others = NOT_IN_PAPER if COMPARED in paper.labels else {}
    chosen = {name: select(rows, name, dataset=paper.dataset, anchor=anchor) for name in (*paper.labels, *others)}
    labels = paper.labels | {name: label for name, label in others.items() if chosen[name]}
    cells, used = {}, []
    for name, (normal, test) in itertools.product(labels, paper.columns):
        classes = CLASSES[paper.dataset] if normal == MEAN else (normal,)
        mean = mean_of(values_on(chosen[name], test), classes)
        cells[name, normal, test] = TableCell(mean, paper.cells.get((name, normal, test)), len(classes))
        if mean:
            used += [row for row in chosen[name] if row["normal"] in mean.classes and row["seed"] in mean.seeds]
    if not used:
        raise ValueError(
            f"table {number}: none of {len(rows)} rows of results belongs in it, expected dataset {paper.dataset!r} "
            f"and methods {', '.join(paper.labels)}; rows are made by experiments/train.py and experiments/evaluate.py"
        )
    return Table(paper, labels, cells, 100, 2, (*_provenance(used), *_left_out(cells, labels)))


def time_table(seconds: Mapping[tuple[str, str], float], *, notes: Sequence[str]) -> Table:
    """Table 7 from (row name, "training" or "inference") to measured seconds; notes say on what and with what."""
    paper = paper_table(TIMING)
    cells = {
        (name, normal, column): TableCell(Mean(seconds[name, column], None, (), (normal,)), printed, 1)
        for (name, normal, column), printed in paper.cells.items()
    }
    return Table(paper, paper.labels, cells, 1, 4, tuple(notes))


def _provenance(rows: Sequence[Row]) -> list[str]:
    """What the averaged rows have in common and where they differ, in words."""
    facts = {
        "seeds": [", ".join(map(str, sorted({row["seed"] for row in rows})))],
        "optimiser steps": [_span(row["steps"] for row in rows)],
        "ID test images": [_span(row["n_test"]["id"] for row in rows)],
        "teacher": sorted({row["teacher"] for row in rows}),
        "anchor": sorted({row["matching"]["anchor"] for row in rows} - {None}),
        "device": sorted({row["device"] for row in rows}),
        "jax": sorted({row["versions"].get("jax", "unknown") for row in rows}),
    }
    return ["Ours: " + "; ".join(f"{name} {' | '.join(values)}" for name, values in facts.items() if values) + "."]


def _span(numbers: Iterable[int]) -> str:
    found = sorted(set(numbers))
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def _left_out(cells: Mapping[tuple[str, str, str], TableCell], labels: Mapping[str, str]) -> list[str]:
    left = {
        (name, seed): cell.measured
        for (name, _, _), cell in cells.items()
        if cell.measured
        for seed in cell.measured.left_out
    }
    return [
        f"{labels[name]}: seed {seed} is left out, for it lacks some of the {len(mean.classes)} classes."
        for (name, seed), mean in left.items()
    ]
