"""The numbers of the paper's Tables 1 to 11 as printed, with its known misprints marked; data in published.json."""

import functools
import importlib.resources
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

MEAN = "mean"  # in place of a normal class: the mean of all classes of the dataset
TABLES = tuple(range(1, 12))


class PaperCell(NamedTuple):
    """One number: the text as printed, and what is wrong with it, if anything is known to be.

    `value`: of the text; AUROC in percent, or seconds.
    """

    printed: str
    notes: tuple[str, ...] = ()

    @property
    def value(self) -> float:
        """The printed number as a float."""
        return float(self.printed)


class PaperTable(NamedTuple):
    """One table.

    Attributes:
        number: 1 to 11.
        caption: as printed, without formulas.
        dataset: as in the configuration.
        columns: (normal class or `MEAN`, test set; in Table 7 "training" or "inference") from left to right.
        labels: name of a row (key of `gnl_jax.paper.rules.RULES`) to its label as printed, from top to bottom.
        cells: (name, normal, test) to the number.
    """

    number: int
    caption: str
    dataset: str
    columns: tuple[tuple[str, str], ...]
    labels: dict[str, str]
    cells: dict[tuple[str, str, str], PaperCell]


@functools.cache
def paper_table(number: int) -> PaperTable:
    """Table 1 to 11 of the paper. Raises ValueError for another number, or naming what is wrong in published.json."""
    if number not in TABLES:
        raise ValueError(f"table: got {number!r}, expected {TABLES[0]} to {TABLES[-1]}")
    text = importlib.resources.files("gnl_jax.paper").joinpath("published.json").read_text(encoding="utf-8")
    try:
        return parse_table(number, json.loads(text)["tables"][str(number)])
    except (KeyError, TypeError) as error:
        raise ValueError(f"published.json, table {number}: {error!r}") from error


def parse_table(number: int, content: Mapping[str, Any]) -> PaperTable:
    """A table from its JSON object; ValueError naming a row that is short, a cell that is no number, an idle note."""
    where = f"published.json, table {number}"
    columns = tuple((normal, test) for normal, test in content["columns"])
    if len(set(columns)) < len(columns):
        raise ValueError(f"{where}: columns repeat")
    cells = {}
    for name, row in content["rows"].items():
        if len(row["values"]) != len(columns):
            raise ValueError(f"{where}, row {name!r}: got {len(row['values'])} values, expected {len(columns)}")
        for (normal, test), printed in zip(columns, row["values"]):
            if not re.fullmatch(r"\d+\.\d+", printed) or not 0 <= float(printed) <= 100:
                raise ValueError(f"{where}, row {name!r}: got {printed!r}, expected a number from 0 to 100")
            cells[name, normal, test] = PaperCell(printed)
    for note in content["notes"]:
        if odd := note.keys() - {"rows", "normals", "tests", "text"}:
            raise ValueError(f"{where}: unknown field {min(odd)!r} of a note")
        marked = [key for key in cells if _is_marked(note, *key)]
        if not marked:
            raise ValueError(f"{where}: no cell has the note {note['text']!r}")
        cells |= {key: cells[key]._replace(notes=(*cells[key].notes, note["text"])) for key in marked}
    labels = {name: row["label"] for name, row in content["rows"].items()}
    return PaperTable(number, content["caption"], content["dataset"], columns, labels, cells)


def _is_marked(note: Mapping[str, Any], name: str, normal: str, test: str) -> bool:
    """Whether a note is about a cell; one that names no rows (classes, test sets) is about all of them."""
    described = {"rows": name, "normals": normal, "tests": test}
    return all(value in note.get(field, [value]) for field, value in described.items())
