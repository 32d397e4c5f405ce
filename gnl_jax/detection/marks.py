"""Marks that a person gave the images of a scored batch, as the page of `gnl-jax score --html` exports them."""

import hashlib
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from gnl_jax.data.pixels import ImageError, read_file
from gnl_jax.data.tables import read_table
from gnl_jax.detection.inspection import ERROR

COLUMNS = (
    *("file", "mark", "decision", "reason", "score", "p_value", "drift", "drift_p_value"),
    *("sha256", "below"),  # of the file's content; the image's name below the input that it is of
    *("place", "of"),  # the image's place in the batch, from 1, and the batch's size
)
_NEEDED = ("file", "mark", "decision", "sha256", "place", "of")
MARKS = ("good", "bad", "unsure")
_ESCAPE = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|[nrt])")


class Marks(NamedTuple):
    """Paths of the marked images of a batch, in its order.

    Attributes:
        good, bad, unsure: as they were marked.
        unmarked: how many images of the batch have no mark; images that could not be scored need none.
        path: of the file of marks.
        below: of each marked path its name below the input of `score`, by which `group_by` finds its part; the path
            itself in marks that do not have it.
    """

    good: tuple[str, ...]
    bad: tuple[str, ...]
    unsure: tuple[str, ...]
    unmarked: int
    path: str
    below: Mapping[str, str]


def read_marks(path: str | os.PathLike) -> Marks:
    """The marks of an exported file; a spreadsheet may have saved it again.

    Every marked image must be where it was when it was scored (as seen from the current folder, or from that of the
    marks), with the same content.

    Raises:
        ValueError: another kind of file, a mark without a meaning, an image that is not there or has changed (named).
    """
    name = os.fspath(path)
    header, *lines = read_table(path) or [[]]
    if missing := [column for column in _NEEDED if column not in header]:
        raise ValueError(f"{name!r}: no column {missing[0]!r}, expected the marks that a page of score --html exports")
    rows = [dict(zip(header, [*line, *[""] * len(header)])) for line in lines]
    found: dict[str, list[tuple[int, str]]] = {mark: [] for mark in MARKS}
    below: dict[str, str] = {}
    places, unmarked = _places(rows, name)
    for place, row in zip(places, rows):
        mark = row["mark"].lower()
        if mark in MARKS:
            image = _image(row, name)
            found[mark].append((place, image))
            below[image] = _below(row, image, name)
        elif mark:
            raise ValueError(f"{name!r}, {row['file']!r}: got mark {row['mark']!r}, expected one of {', '.join(MARKS)}")
        elif row["decision"] != ERROR:
            unmarked += 1
    good, bad, unsure = (tuple(image for _, image in sorted(found[mark])) for mark in MARKS)
    return Marks(good, bad, unsure, unmarked, name, below)


def require_all(marks: Marks, *, purpose: str) -> Marks:
    """The marks, if every image of the batch is marked good or bad.

    Raises ValueError saying why the others matter.
    """
    left = [f"{marks.unmarked} images have no mark"] if marks.unmarked else []
    left += [f"{len(marks.unsure)} are marked unsure"] if marks.unsure else []
    if left:
        raise ValueError(
            f"{marks.path!r}: {' and '.join(left)}, expected every image of the batch marked good or bad: marks of "
            f"flagged images alone bias {purpose}, for good parts that were not flagged are missing"
        )
    return marks


def _places(rows: Sequence[Mapping[str, str]], name: str) -> tuple[list[int], int]:
    """The place of each row in the batch, and how many images of the batch have no row."""
    try:
        places, sizes = ([int(row[column]) for row in rows] for column in ("place", "of"))
    except (ValueError, KeyError):
        raise ValueError(f"{name!r}: a line without numbers in the columns place and of") from None
    if len(set(sizes)) != 1 or len(set(places)) != len(places) or min(places) < 1 or max(places) > sizes[0]:
        raise ValueError(f"{name!r}: got lines of several batches or one line twice, expected the marks of one batch")
    return places, sizes[0] - len(places)


def _image(row: Mapping[str, str], name: str) -> str:
    """The path of the image of a row, found by its name and checked by its content."""
    folder, changed = os.path.dirname(os.path.abspath(name)), False
    for text in _readings(row["file"]):
        for path in (text, os.path.join(folder, text)):
            try:
                if hashlib.sha256(read_file(Path(path))).hexdigest() == row["sha256"]:
                    return path
                changed = True
            except (ImageError, ValueError):  # not there, or no name at all
                continue
    what = "has another content than when it was scored" if changed else "is not there"
    raise ValueError(f"{name!r}: the marked image {row['file']!r} {what}, expected it as it was, where score found it")


def _below(row: Mapping[str, str], image: str, name: str) -> str:
    """The name of an image below its input: an end of its path."""
    if "below" not in row:
        return image
    for text in _readings(row["below"]):
        if text and image.endswith(text):
            return text
    raise ValueError(f"{name!r}: got {row['below']!r} in the column below, expected an end of {image!r}")


def _readings(cell: str) -> list[str]:
    """What a cell may stand for: itself, or a name that was made harmless (`rows.harmless`)."""
    plain = cell.removeprefix("'")
    unescaped = [_ESCAPE.sub(lambda found: _character(found[0]), text) for text in (cell, plain)]
    return list(dict.fromkeys((cell, plain, *unescaped)))


def _character(escape: str) -> str:
    named = {"\\n": "\n", "\\r": "\r", "\\t": "\t"}
    if escape in named:
        return named[escape]
    code = int(escape[2:], 16)
    return chr(code) if code <= sys.maxunicode else escape
