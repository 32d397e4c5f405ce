"""Lines of CSV and JSON: one for each result, harmless to a spreadsheet and to a terminal."""

import csv
import io
import json

import pytest

from gnl_jax.detection.inspection import Inspected
from gnl_jax.detection.rows import COLUMNS, WRITERS
from gnl_jax.text import printable

GOOD = Inspected("a b.png", "NG", "score", 0.5, 0.01, 1.25, 0.5, ((1, 2, 3, 4),))
HOSTILE = ["=cmd|x.png", "+1.png", "-1.png", "@x.png", "\t=1.png", "[/b].png", '"><img src=x onerror=alert(1)>.png']
STEERING = "\x1b[2Jgone.png"
NOT_UTF8 = b"\xff.png".decode(errors="surrogateescape")


def written(kind, *results):
    file = io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace", newline="")
    write = WRITERS[kind](file)
    for result in results:
        write(result)
    file.seek(0)
    return file.read()


def test_csv_has_a_header_and_a_line_for_each_result():
    rows = list(csv.reader(io.StringIO(written("csv", GOOD, Inspected("x.png", "ERROR", "no such file")))))
    assert rows[0] == list(COLUMNS)
    assert rows[1] == ["a b.png", "NG", "score", "0.5", "0.01", "1.25", "0.5", "[[1, 2, 3, 4]]"]
    assert rows[2] == ["x.png", "ERROR", "no such file", "", "", "", "", "[]"]


def test_json_lines_have_the_same():
    lines = written("jsonl", GOOD, Inspected("x.png", "ERROR", "no such file")).splitlines()
    one, other = map(json.loads, lines)
    assert one == dict(zip(COLUMNS, ["a b.png", "NG", "score", 0.5, 0.01, 1.25, 0.5, [[1, 2, 3, 4]]]))
    assert other["score"] is None


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_is_a_formula(name):
    ((_, (cell, *_)), *_) = [list(csv.reader(io.StringIO(written("csv", Inspected(name, "OK", "")))))]
    assert cell[0] not in "=+-@\t\r"
    assert cell.lstrip("'") == printable(name)
    assert json.loads(written("jsonl", Inspected(name, "OK", "")))["file"] == name


@pytest.mark.parametrize("name", [STEERING, NOT_UTF8, "two\nlines.png"])
@pytest.mark.parametrize("kind", WRITERS)
def test_no_name_steers_a_terminal_or_breaks_a_line(kind, name):
    text = written(kind, Inspected(name, "OK", ""))
    assert all(c.isprintable() or c == "\n" for c in text)
    assert len(text.splitlines()) == {"csv": 2, "jsonl": 1}[kind]
