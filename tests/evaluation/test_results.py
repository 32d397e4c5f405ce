"""results.json: what is written is what is read, and nothing that breaks the schema is either."""

import copy
import json
import math

import pytest
from result_rows import row

from gnl_jax.evaluation.results import read_results, write_results


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
        (["pixel"], {"auroc": {"id": 2.0}}, r"pixel\.auroc\.id: got 2.0"),
        (["pixel"], {"auroc": 0.5}, r"pixel\.auroc: got 0.5, expected an object"),
        (["metrics"], {"f1_max": {"id": 1.5}}, r"metrics\.f1_max\.id: got 1.5"),
        (["interval"], {"id": [0.5]}, r"interval\.id: got \[0.5\], expected \[low, high\]"),
        (["interval"], {"id": [0.6, 0.5]}, r"interval\.id: got \[0.6, 0.5\]"),
        (["interval"], {"id": [0.5, math.nan]}, r"interval\.id: got \[0.5, nan\]"),
        (["pixel?"], {}, r"unknown or missing field 'pixel\?'"),
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


def test_values_of_score_maps_are_optional(tmp_path):
    rows = [row(), row(pixel={"auroc": {"id": 0.5, "photo": 1}, "aupro_0.30": {}}), row(pixel={})]
    write_results(tmp_path / "results.json", rows)
    assert read_results(tmp_path / "results.json") == rows
    assert rows[1]["pixel"]["auroc"] == {"id": 0.5, "photo": 1}
    assert "pixel" not in rows[2]


def test_further_metrics_and_intervals_are_optional(tmp_path):
    more = row(interval={"id": (0.4, 0.6)}, metrics={"f1_max": {"id": 0.5, "photo": 1}})
    write_results(tmp_path / "results.json", [row(), more])
    assert read_results(tmp_path / "results.json") == [row(), more]
    assert (more["interval"], more["metrics"]) == ({"id": [0.4, 0.6]}, {"f1_max": {"id": 0.5, "photo": 1}})
    assert row().keys() & {"interval", "metrics"} == set()


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
