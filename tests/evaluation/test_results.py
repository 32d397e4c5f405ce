"""results.json: what is written is what is read, and nothing that breaks the schema is either."""

import copy
import io
import json
import math

import pytest

from gnl_jax.evaluation.results import (
    make_row,
    print_results,
    read_results,
    results_table,
    summarise,
    write_results,
)


def row(**changes):
    fields = {
        "method": "gnl",
        "dataset": "digits",
        "normal": "3",
        "seed": 0,
        "teacher": "resnet18 random",
        "matching": {"kind": "efdm", "alpha": 0.5, "anchor": "first", "k": None},
        "steps": 200,
        "auroc_id": 0.98765,
        "auroc_ood": {"photo": 0.75, "contrast": 1},
        "n_test": {"id": 364, "photo": 364, "contrast": 364},
        "seconds": {"train": 12.5, "score": 0.25},
        "device": "cpu",
        "versions": {"jax": "0.10.2"},
        "config_sha": "ab12",
    }
    return make_row(**(fields | changes))


def test_a_file_holds_the_rows_under_schema_1(tmp_path):
    rows = [row(), row(normal="4", matching={"kind": "none", "alpha": None, "anchor": None, "k": None})]
    write_results(tmp_path / "results.json", rows)
    assert json.loads((tmp_path / "results.json").read_text()) == {"schema": 1, "rows": rows}
    assert read_results(tmp_path / "results.json") == rows
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]  # no temporary file left
    assert list(rows[0]) == [
        *("method", "dataset", "normal", "seed", "teacher", "matching", "steps", "auroc", "n_test"),
        *("seconds", "device", "versions", "config_sha"),
    ]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["method"], 3, r"method: got 3, expected text"),
        (["seed"], True, r"seed: got True, expected an integer"),
        (["steps"], -1, r"steps: got -1"),
        (["steps"], 1.5, r"steps: got 1.5"),
        (["matching", "alpha"], 1.01, r"matching\.alpha: got 1.01, expected a number in \[0, 1\], or null"),
        (["matching", "kind"], None, r"matching\.kind: got None"),
        (["matching"], "efdm", r"matching: got 'efdm', expected an object"),
        (["auroc", "id"], math.nan, r"auroc\.id: got nan, expected a number in \[0, 1\]"),
        (["auroc", "id"], 98.7, r"auroc\.id: got 98.7"),
        (["auroc", "ood", "photo"], math.inf, r"auroc\.ood\.photo: got inf"),
        (["n_test", "id"], 1.0, r"n_test\.id: got 1.0"),
        (["seconds", "train"], -0.1, r"seconds\.train: got -0.1"),
        (["versions", "jax"], 10, r"versions\.jax: got 10"),
        (["extra"], 1, r"unknown or missing field 'extra'"),
        (["matching", "extra"], 1, r"matching: unknown or missing field 'extra'"),
    ],
)
def test_a_wrong_field_is_named_when_read_and_when_written(tmp_path, path, value, message):
    wrong = copy.deepcopy(row())
    at = wrong
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    file = tmp_path / "results.json"
    with pytest.raises(ValueError, match=rf"rows\[1\](\.|: ){message}"):
        write_results(file, [row(), wrong])
    assert not file.exists()
    file.write_text(json.dumps({"schema": 1, "rows": [row(), wrong]}))
    with pytest.raises(ValueError, match=rf"results\.json: rows\[1\](\.|: ){message}"):
        read_results(file)


@pytest.mark.parametrize("field", ["method", "auroc", "config_sha"])
def test_a_missing_field_is_named(tmp_path, field):
    wrong = row()
    del wrong[field]
    (tmp_path / "results.json").write_text(json.dumps({"schema": 1, "rows": [wrong]}))
    with pytest.raises(ValueError, match=rf"rows\[0\]: unknown or missing field '{field}'"):
        read_results(tmp_path / "results.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"schema": 1, "rows": [', "results.json: "),
        (b"", "results.json: "),
        (b"\xff\xfe\xfd", "results.json: "),
        (b'{"schema": 2, "rows": []}', "schema: got 2, expected 1"),
        (b'{"rows": []}', "schema: got None, expected 1"),
        (b"[]", r"file: got \[\], expected an object"),
        (b'{"schema": 1}', "unknown or missing field 'rows'"),
        (b'{"schema": 1, "rows": {}}', "rows: got {}, expected a list"),
    ],
)
def test_a_file_that_is_no_results_file_is_an_error(tmp_path, content, message):
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_results(tmp_path / "results.json")


def test_a_mean_is_over_classes_then_seeds_with_the_deviation_of_the_seeds():
    rows = [
        row(normal=normal, seed=seed, auroc_id=value, auroc_ood={})
        for (normal, seed, value) in [("3", 0, 0.9), ("4", 0, 0.7), ("3", 1, 1.0), ("4", 1, 0.8)]
    ]
    (summary,) = summarise(rows)
    assert summary.runs == 4
    assert summary.auroc["id"] == pytest.approx((0.85, math.sqrt(2) * 0.05))
    (summary,) = summarise(rows[:3])  # seed 1 lacks a class
    assert summary.auroc["id"] == (pytest.approx(0.9), None)
    (summary,) = summarise([rows[0], row(auroc_id=0.5, auroc_ood={})])  # evaluated again
    assert (summary.runs, summary.auroc["id"][0]) == (1, 0.5)


def test_the_table_has_a_line_per_method_and_a_column_per_test_set():
    none = {"kind": "none", "alpha": None, "anchor": None, "k": None}
    rows = [
        row(),
        row(normal="4", auroc_id=0.9),
        row(method="rd4ad", matching=none, auroc_ood={"photo": 0.5}),
    ]
    text = io.StringIO()
    print_results(rows, file=text)
    assert text.getvalue().splitlines() == [
        "Method  Matching              Runs  ID     photo  contrast",
        "gnl     efdm first alpha 0.5  2     94.38  75.00  100.00",
        "rd4ad   none                  1     98.77  50.00  –",
    ]
    table = results_table(rows)
    assert [column.header for column in table.columns] == [
        "Method",
        "Matching",
        "Runs",
        "ID",
        "photo",
        "contrast",
    ]
    assert list(table.columns[3].cells) == ["94.38", "98.77"]


def test_on_a_terminal_the_table_is_drawn():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    text = Terminal()
    print_results([row()], file=text)
    assert "AUROC (%)" in text.getvalue()
    assert "98.77" in text.getvalue()
