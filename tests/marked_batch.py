"""Marks of a scored batch as its page exports them."""

import csv

from gnl_jax.detection.marks import COLUMNS
from gnl_jax.report.triage import row


def write_marks(path, results, marks, *, separator=",", below=None):
    """Writes the marks of results as a CSV, "" for none, as triage.js does; a spreadsheet has other separators.

    below: names below the input; by default those of the files.
    """
    below = below or [""] * len(results)
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(COLUMNS)
        for place, (result, mark, name) in enumerate(zip(results, marks, below, strict=True), start=1):
            entry = row(result, place, below=name)
            entry = {"file": entry["name"], **entry, "mark": mark, "of": len(results)}
            writer.writerow(["" if entry[name] is None else entry[name] for name in COLUMNS])
    return path
