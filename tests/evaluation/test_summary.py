"""Tables of results: what is averaged, what is shown, and what is left out."""

import io
import math

import pytest
from result_rows import row

from gnl_jax.evaluation.summary import print_results, results_table, row_labels, summarise


def test_a_mean_is_over_classes_then_seeds_with_the_deviation_of_the_seeds():
    rows = [
        row(normal=normal, seed=seed, auroc_id=value, auroc_ood={})
        for (normal, seed, value) in [("3", 0, 0.9), ("4", 0, 0.7), ("3", 1, 1.0), ("4", 1, 0.8)]
    ]
    (summary,) = summarise(rows)
    assert summary.runs == 4
    assert summary.values["id"] == pytest.approx((0.85, math.sqrt(2) * 0.05))
    (summary,) = summarise(rows[:3])  # seed 1 lacks a class
    assert summary.values["id"] == (pytest.approx(0.9), None)
    (summary,) = summarise([rows[0], row(auroc_id=0.5, auroc_ood={})])  # evaluated again
    assert (summary.runs, summary.values["id"][0]) == (1, 0.5)


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


def test_values_of_score_maps_have_their_own_tables():
    pixel = {"auroc": {"id": 0.97, "photo": 0.9}, "aupro_0.05": {"id": 0.5}}
    rows = [row(pixel=pixel), row(normal="4", pixel={"auroc": {"id": 0.95}}), row(method="rd4ad")]
    text = io.StringIO()
    print_results(rows, file=text)
    assert text.getvalue().splitlines()[3:] == [
        "",
        "Pixel AUROC (%)",
        "Method  Runs  ID     photo",
        "gnl     2     96.00  90.00",
        "",
        "AUPRO up to 5 % false positives (%)",
        "Method  Runs  ID",
        "gnl     1     50.00",
    ]
    assert summarise(rows, metric="aupro_0.30") == []


def test_false_alarms_have_their_own_table_where_rows_have_them():
    rows = [row(metrics={"false_alarm_0.05": {"id": 0.05, "photo": 0.8}, "f1_max": {"id": 0.5}}), row(method="rd4ad")]
    text = io.StringIO()
    print_results(rows, file=text)
    assert text.getvalue().splitlines()[3:] == [
        "",
        "Normal images (%) above the threshold that 5 % of those of ID are above",
        "Method  Runs  ID    photo",
        "gnl     1     5.00  80.00",
    ]


def test_labels_say_what_differs():
    none = {"kind": "none", "alpha": None, "anchor": None, "k": None}
    assert row_labels([row(), row(method="rd4ad", matching=none)]) == ["GNL + efdm 0.5", "RD4AD"]
    assert row_labels([row(), row(normal="4", seed=1)]) == ["GNL + efdm 0.5, 3, seed 0", "GNL + efdm 0.5, 4, seed 1"]


def test_names_are_shown_as_they_are():
    table = results_table([row(method="[red]gnl", auroc_ood={"[b]": 0.5})])
    assert list(table.columns[0].cells) == [r"\[red]gnl"]
    assert table.columns[3].header == r"\[b]"
