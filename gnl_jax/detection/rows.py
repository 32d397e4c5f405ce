"""Results as lines of CSV or JSON, harmless to whatever opens them."""

import csv
import json
from collections.abc import Callable
from typing import IO

from gnl_jax.detection.inspection import Inspected
from gnl_jax.text import printable

COLUMNS = ("file", "decision", "reason", "score", "p_value", "drift", "drift_p_value", "boxes")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # with these a spreadsheet takes a text for something to compute


def row(result: Inspected) -> dict:
    """A result as JSON holds it: `COLUMNS`, None where there is no number; boxes [x, y, width, height]."""
    values = (result.path, *result[1:7], [list(box) for box in result.boxes])
    return dict(zip(COLUMNS, values, strict=True))


def csv_writer(file: IO[str]) -> Callable[[Inspected], None]:
    """Writes the header; then one line for each result. A text that a spreadsheet would compute is quoted with '."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)

    def write(result: Inspected) -> None:
        values = row(result)
        for name in ("file", "reason"):
            values[name] = harmless(values[name])
        values["boxes"] = json.dumps(values["boxes"])
        writer.writerow(["" if value is None else value for value in values.values()])
        file.flush()

    return write


def json_line(result: Inspected) -> str:
    """A result as a line of JSON, in ASCII; a name that is not UTF-8 has lone surrogates as escapes."""
    return json.dumps(row(result), allow_nan=False) + "\n"


def jsonl_writer(file: IO[str]) -> Callable[[Inspected], None]:
    """One `json_line` for each result."""

    def write(result: Inspected) -> None:
        file.write(json_line(result))
        file.flush()

    return write


def harmless(text: str) -> str:
    """A text as a cell of CSV: `printable`, and with a ' in front where a spreadsheet would compute it."""
    shown = printable(text)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown


WRITERS = {"csv": csv_writer, "jsonl": jsonl_writer}
