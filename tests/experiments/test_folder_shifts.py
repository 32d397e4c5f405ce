"""A detector counted on folders, and the tables that are made from such results."""

import json

import numpy as np
import programs
import pytest
from fitted import write_images

from experiments.result_rows import cell, classes_table, digits_table, intervals_table, summary, table, tables
from experiments.result_tables import ROOT

RNG = np.random.default_rng(0)


def result(method, seed, *scores):
    rows = [{"matching": matching, "condition": condition, "auroc": auroc} for matching, condition, auroc in scores]
    return {"method": method, "seed": seed, "rows": rows}


def test_a_table_by_hand():
    results = [
        result("a", 0, ("efdm", "id", 80.0), ("efdm", "dusk", 70.0), ("none", "id", 60.0), ("none", "dusk", 50.0)),
        result("a", 1, ("efdm", "id", 90.0), ("efdm", "dusk", 60.0), ("none", "id", 62.0), ("none", "dusk", 54.0)),
        result("b", 0, ("none", "id", 99.0), ("none", "dusk", 1.0)),
    ]
    assert table(results, "auroc") == [
        "| method | matching | seeds | id | dusk | mean |",
        "|---|---|---|---|---|---|",
        "| a | efdm | 2 | 85.0 (80.0 to 90.0) | 65.0 (60.0 to 70.0) | 75.0 (75.0 to 75.0) |",
        "| a | none | 2 | 61.0 (60.0 to 62.0) | 52.0 (50.0 to 54.0) | 56.5 (55.0 to 58.0) |",
        "| b | none | 1 | 99.0 | 1.0 | 50.0 |",
    ]
    assert cell([1.0, 2.0]) == "1.5 (1.0 to 2.0)"


def test_a_table_of_digits_by_hand():
    def row(digit, matching, plain, shifted):
        auroc = {"id": plain, "ood": {"mnist_m": shifted}}
        return {"normal": digit, "matching": {"kind": matching}, "auroc": auroc}

    first = [row("5", "none", 0.9, 0.5), row("7", "none", 0.8, 0.4)]
    assert digits_table({"first": first}) == [
        "| run | matching | seeds | 5 | 7 | mean |",
        "|---|---|---|---|---|---|",
        "| first | none | 1 | 90.00 / 50.00 | 80.00 / 40.00 | 85.00 / 45.00 |",
    ]
    seeds = [row("7", "efdm", 0.99, 0.6), row("7", "efdm", 0.97, 0.62)]
    assert digits_table({"first": seeds, "other": [row("7", "efdm", 1, 0.5)]}) == [
        "| run | matching | seeds | 7 |",
        "|---|---|---|---|",
        "| first | efdm | 2 | 98.00 (97.00 to 99.00) / 61.00 (60.00 to 62.00) |",
        "| other | efdm | 1 | 100.00 / 50.00 |",
    ]
    with pytest.raises(ValueError, match=r"other, none: got \[0, 1\] seeds"):
        digits_table({"first": first, "other": [row("7", "none", 1, 0.5)]})


def test_a_table_of_intervals_by_hand():
    def row(matching, condition, *numbers):
        return {"matching": matching, "condition": condition, "auroc": numbers[0], "interval": numbers[1:]}

    rows = [row(matching, name, 80.04, 71.4, 88.6) for name in ("id", "dusk") for matching in ("efdm", "none")]
    assert intervals_table([{"method": "a", "rows": rows}]) == [
        "| method | matching | id | dusk |",
        "|---|---|---|---|",
        "| a | efdm | 80.0 (71 to 89) | 80.0 (71 to 89) |",
        "| a | none | 80.0 (71 to 89) | 80.0 (71 to 89) |",
    ]


def test_a_summary_by_hand(tmp_path):
    def fit(matching, auroc, flagged, caught):
        return {"matching": matching, "condition": "id", "auroc": auroc, "flagged": flagged, "caught": caught}

    def row(method, normal, plain, *shifted):
        ood = dict(zip(("dusk", "fog"), shifted, strict=True))
        return {"method": method, "normal": normal, "matching": {"kind": "none"}, "auroc": {"id": plain, "ood": ood}}

    for seed, rows in enumerate(
        [[fit("none", 80.0, 1.0, 40.0), fit("efdm", 90.0, 2.0, 50.0)], [fit("none", 84.0, 3.0, 46.0)]]
    ):
        (tmp_path / f"tiles_bank_{seed}.json").write_text(json.dumps({"method": "bank", "seed": seed, "rows": rows}))
    # An experiment of its own, which is no part of the summary.
    other = {"method": "bank", "seed": 0, "rows": [fit("none", 1.0, 1.0, 1.0)]}
    (tmp_path / "screw_contrast_bank_0.json").write_text(json.dumps(other))
    (tmp_path / "classes_pacs").mkdir()
    rows = [row("bank", "dog", 0.9, 0.8, 0.6), row("bank", "cat", 0.7, 0.5, 0.5), row("gnl", "dog", 0.6, 0.5, 0.4)]
    (tmp_path / "classes_pacs" / "all.json").write_text(json.dumps({"rows": rows}))
    assert summary(tmp_path) == [
        "| method | matching | magnetic tiles | screw | MNIST / MNIST-M | PACS | CIFAR-10 |",
        "|---|---|---|---|---|---|---|",
        "| bank | efdm | 90.0 / 2.0 / 50.0 | – | – | – | – |",
        "| bank | none | 82.0 / 2.0 / 43.0 | – | – | 90.0 / 70.0 | – |",
        "| gnl | none | – | – | – | 60.0 / 45.0 | – |",
    ]


def test_a_table_of_classes_by_hand():
    auroc = {"id": 0.9, "ood": {"dusk": 0.8, "fog": 0.123}}
    rows = [{"normal": "dog", "method": "a", "matching": {"kind": kind}, "auroc": auroc} for kind in ("none", "efdm")]
    assert classes_table(rows) == [
        "| class | method | matching | ID | dusk | fog |",
        "|---|---|---|---|---|---|",
        "| dog | a | none | 90.0 | 80.0 | 12.3 |",
        "| dog | a | efdm | 90.0 | 80.0 | 12.3 |",
    ]


def test_the_page_has_the_tables_of_its_results():
    page = (ROOT / "docs/results.md").read_text()
    found = list(tables(ROOT / "docs/results"))
    assert found
    assert [title for title, lines in found if "\n".join(lines) not in page] == []


@pytest.mark.slow
def test_results_of_a_small_fit(tmp_path):
    good = RNG.integers(90, 110, (34, 64, 64, 3), np.uint8)
    bad = good[28:].copy()
    bad[:, 20:40, 20:40] = RNG.integers(0, 255, (6, 20, 20, 3), np.uint8)
    write_images(tmp_path / "train", good[:30])
    for name in ("test", "dusk"):
        write_images(tmp_path / name / "good", good[30:] // (1 + (name == "dusk")))
        write_images(tmp_path / name / "spot", bad // (1 + (name == "dusk")))
    out = tmp_path / "small.json"
    done = programs.run(
        "folder_shifts",
        *(
            f"--good={tmp_path / 'train'}",
            f"--condition=id={tmp_path / 'test'}",
            f"--condition=dusk={tmp_path / 'dusk'}",
        ),
        *("--corrupt=contrast", "--size=64", f"--out={out}", f"--workdir={tmp_path / 'run'}"),
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "run").iterdir())
    found = json.loads(out.read_text())
    assert (found["method"], found["seed"], found["size"]) == ("matched_bank", 0, 64)
    assert [(row["matching"], row["condition"]) for row in found["rows"]] == [
        (matching, condition) for condition in ("id", "dusk", "contrast") for matching in ("efdm", "none")
    ]
    for row in found["rows"]:
        assert (row["good_parts"], row["bad_parts"]) == (4, 6)
        low, high = row["interval"]
        assert 0 <= low <= row["auroc"] <= high <= 100
    assert found["rows"][0]["auroc"] == 100
    assert found["rows"][0]["caught"] == 100
    assert f"| efdm | id | 100.0 | {found['rows'][0]['flagged']:.1f} | 100.0 |" in done.stdout
