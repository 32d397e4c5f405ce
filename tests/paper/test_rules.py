"""Which rows make a line of a table, and what is averaged."""

import math

import pytest
from result_rows import row

from gnl_jax.config import METHODS
from gnl_jax.paper.rules import RULES, Mean, mean_of, select, values_on

NONE = {"kind": "none", "alpha": None, "anchor": None, "k": None}


def efdm(alpha=0.9, anchor="first"):
    return {"kind": "efdm", "alpha": alpha, "anchor": anchor, "k": 1}


def mnist(**changes):
    return row(**({"dataset": "mnist", "matching": NONE} | changes))


def test_a_line_is_a_training_and_a_matching():
    rows = {
        (method, matching["kind"], matching["alpha"]): mnist(method=method, matching=matching)
        for method in METHODS
        for matching in (NONE, efdm(0.9), efdm(0.5), {**efdm(), "kind": "mixstyle"})
    }
    expected = {name: [(name, "none", None)] for name in METHODS} | {
        "rd4ad": [("rd4ad", "none", None), ("atta", "none", None)],
        "atta": [("rd4ad", "efdm", 0.9), ("atta", "efdm", 0.9)],
        "dinl": [("gnl", "none", None), ("dinl", "none", None)],
        "gnl": [("gnl", "efdm", 0.9), ("dinl", "efdm", 0.9)],
        "matched_bank": [("matched_bank", "efdm", 0.9)],
        "two_size_bank": [("two_size_bank", "efdm", 0.9)],
        "augmented_bank": [("augmented_bank", "efdm", 0.9)],
        "image_bank": [("image_bank", "efdm", 0.9)],
        "image_bank_unmatched": [("image_bank", "none", None)],
        "bank_and_student": [("bank_and_student", "efdm", 0.9)],
        "matched_dinov2_bank": [("matched_dinov2_bank", "efdm", 0.9)],
    }
    assert RULES.keys() == expected.keys()
    for name, keys in expected.items():
        assert select(rows.values(), name, dataset="mnist") == [rows[key] for key in keys]
        assert select(rows.values(), name, dataset="pacs") == []
    pacs = [{**r, "dataset": "pacs"} for r in rows.values()]
    assert {r["matching"]["alpha"] for r in select(pacs, "gnl", dataset="pacs")} == {0.5}
    assert {r["matching"]["alpha"] for r in select(rows.values(), "gnl", dataset="mnist", alpha=0.5)} == {0.5}
    with pytest.raises(ValueError, match="method: got 'svm', expected one of rd4ad"):
        select([], "svm", dataset="mnist")


def test_an_anchor_can_be_chosen_and_has_to_be():
    rows = [mnist(matching=efdm(anchor=anchor), auroc_id=value) for anchor, value in (("first", 0.5), ("random", 0.7))]
    assert select(rows, "gnl", dataset="mnist", anchor="random") == rows[1:]
    with pytest.raises(ValueError, match=r"normal class 3, seed 0, test set 'id': got both 0\.5000.*0\.7"):
        values_on(select(rows, "gnl", dataset="mnist"), "id")


def test_the_preferred_training_counts_and_a_missing_test_set_is_no_value():
    rows = [
        mnist(method="atta", auroc_id=0.1, normal="4"),
        mnist(method="atta", auroc_id=0.2),
        mnist(method="rd4ad", auroc_id=0.3, auroc_ood={"mnist_m": 0.6}),
        mnist(method="rd4ad", auroc_id=0.3 + 5e-5, auroc_ood={"contrast:1": 0.4}, config_sha="other test sets"),
    ]
    chosen = select(rows, "rd4ad", dataset="mnist")
    assert values_on(chosen, "id") == {(0, "3"): 0.3, (0, "4"): 0.1}
    assert values_on(chosen, "mnist_m") == {(0, "3"): 0.6}
    assert values_on(chosen, "contrast:1") == {(0, "3"): 0.4}


def test_a_mean_is_over_classes_then_seeds():
    values = {(0, "a"): 0.9, (0, "b"): 0.7, (1, "a"): 1.0, (1, "b"): 0.8, (0, "even"): 0.0}
    mean = mean_of(values, ("a", "b"))
    assert mean == Mean(pytest.approx(0.85), pytest.approx(math.sqrt(2) * 0.05), (0, 1), ("a", "b"))
    assert mean_of(values, ("even",)) == Mean(0.0, None, (0,), ("even",))
    assert mean_of(values, ("c",)) is None


def test_seeds_with_fewer_classes_are_left_out():
    values = {(0, "a"): 0.5, (1, "a"): 0.6, (1, "b"): 0.8, (2, "b"): 0.9}
    assert mean_of(values, ("a", "b", "c")) == Mean(pytest.approx(0.7), None, (1,), ("a", "b"), (0, 2))
    # As many classes: the seeds that have the same ones count.
    values = {(0, "a"): 0.5, (1, "b"): 0.6, (2, "b"): 0.8}
    mean = mean_of(values, ("a", "b"))
    assert (mean.value, mean.seeds, mean.classes, mean.left_out) == (pytest.approx(0.7), (1, 2), ("b",), (0,))
