"""Tables from CSV files as spreadsheets write them: any of three separators, a byte order mark, Windows' encodings."""

import csv
import io
import os
from pathlib import Path

from gnl_jax.data.listing import SUFFIXES

SEPARATORS = (",", ";", "\t")


def read_table(path: str | os.PathLike) -> list[list[str]]:
    """The rows of a CSV file that names images, without empty ones; spaces around a cell are no part of it.

    The separator is the one that ends the first cell of most rows after the suffix of an image: a name may hold commas
    and a number decimal commas.

    Raises:
        ValueError: a file that cannot be read.
    """
    try:
        data = Path(path).read_bytes()
        text = _text(data)
        tables = [list(csv.reader(io.StringIO(text, newline=""), delimiter=mark)) for mark in SEPARATORS]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{os.fsdecode(path)!r} cannot be read ({error})") from error
    rows = max(tables, key=lambda table: sum(map(_names_image, table)))  # the first of equal ones
    rows = [[cell.strip() for cell in row] for row in rows]
    return [row for row in rows if any(row) and not row[0].startswith("sep=")]  # sep=; is a note to Excel


def _text(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")  # Excel's CSV outside UTF-8; a wrong guess shows as a file that is not there


def _names_image(row: list[str]) -> bool:
    return len(row) > 1 and any(os.path.splitext(cell.strip())[1].lower() in SUFFIXES for cell in row[:-1])
