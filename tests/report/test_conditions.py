"""Shifts in words, the sentences of the shift report, its verdict and its numbers."""

import pytest

from gnl_jax.config import default_config, set_method
from gnl_jax.detection.advice import State
from gnl_jax.detection.limits import Counts, make_limits
from gnl_jax.detection.verdict import judge
from gnl_jax.images.corruptions import FAMILIES, SEVERITIES
from gnl_jax.report.card import card, numbers
from gnl_jax.report.conditions import LABELS, in_words, seen_in_training, sentence


@pytest.mark.parametrize("family", FAMILIES)
def test_every_severity_has_words_of_its_own(family):
    assert len({in_words(family, severity) for severity in SEVERITIES}) == 5


def test_light_in_words():
    assert in_words("gain_up", 3) == "lamp +27 %"
    assert in_words("gain_down", 5) == "lamp -41 %"
    assert in_words("contrast", 1) == "contrast at 40 %"


@pytest.mark.parametrize(
    ("method", "operations", "family", "severity", "seen"),
    [
        ("gnl", "pacs", "contrast", 5, True),
        ("gnl", "mvtec", "contrast", 5, True),
        ("gnl", "pacs", "gain_down", 1, True),
        ("gnl", "mvtec", "gain_down", 1, False),
        ("gnl", "pacs", "gain_up", 1, False),
        ("gnl", "pacs", "defocus_blur", 1, True),
        ("gnl", "pacs", "defocus_blur", 2, False),
        ("rd4ad", "pacs", "contrast", 1, False),
    ],
)
def test_what_training_has_shown(method, operations, family, severity, seen):
    config = set_method(default_config(), method)
    config.method.augmix.operations = operations
    assert seen_in_training(config, family, severity)[0] is seen


LIMITS = make_limits(0.05)
FINE = Counts(good=46, by_score=1, bad=46, caught=44, lost=0, gained=0)


def test_every_family_has_a_label():
    assert set(LABELS) == set(FAMILIES)
    assert len(set(LABELS.values())) == len(LABELS)


def test_a_sentence_says_what_happened_and_how_it_is_judged():
    def said(counts):
        return sentence("lamp +27 %", counts, judge([counts], LIMITS)[0])

    assert said(FINE) == "lamp +27 %: 1 of 46 good parts flagged and 44 of 46 defects caught; within limits."
    assert said(FINE._replace(by_drift=30)).startswith(
        "lamp +27 %: 31 of 46 good parts flagged (30 by drift alone) and"
    )
    assert said(FINE._replace(by_drift=30)).endswith("; drifted: recalibrate.")
    assert said(FINE._replace(by_score=30)).endswith("; too many false alarms.")
    assert said(FINE._replace(caught=10, lost=34)).endswith("; missing defects.")
    assert said(Counts(good=20, by_score=3)) == "lamp +27 %: 3 of 20 good parts flagged; not enough evidence."


def report_of(*named):
    """Rows and judgements of (name, kind, counts)."""
    rows = [
        {"name": name, "what": f"<{name}>", "kind": kind, "n": c.good, "stopped": c.by_score + c.by_drift}
        | {field: getattr(c, field) for field in ("by_score", "by_drift", "bad", "caught")}
        for name, kind, c in named
    ]
    return rows, judge([c for *_, c in named], LIMITS)


CLEAN = FINE._replace(lost=None, gained=None)
NAMES = {"detector": "p.gnl", "good": "g", "bad": "b"}


def test_the_verdict_is_that_of_the_photographed_parts():
    bad = FINE._replace(by_score=40)
    verdict = card(
        *report_of(("clean", "clean", CLEAN), ("a", "simulated", FINE), ("b", "simulated", bad)), names=NAMES
    )
    assert verdict.state == State.WITHIN
    assert "1 of 2 simulated shifts are within limits too; avoid <b>." in verdict.found
    assert verdict.command.startswith("gnl-jax score p.gnl")
    verdict = card(*report_of(("clean", "clean", CLEAN), ("lamp", "own", CLEAN._replace(by_score=40))), names=NAMES)
    assert verdict.state == State.ALARMS
    assert (
        verdict.found == "Under lamp: 40 of 46 good parts flagged by score, 0 by drift alone; 44 of 46 defects caught."
    )
    assert verdict.command == "gnl-jax fit GOOD --size 256 --out NEW.gnl"


def test_within_all_needs_every_shift():
    all_fine = [(f"s{i}", "simulated", FINE) for i in range(3)]
    assert "in all 3 simulated shifts" in card(*report_of(("clean", "clean", CLEAN), *all_fine), names=NAMES).found
    few = ("few", "simulated", FINE._replace(good=20, by_score=0))
    verdict = card(*report_of(("clean", "clean", CLEAN), *all_fine, few), names=NAMES)
    assert verdict.state == State.WITHIN
    assert "3 of 4 simulated shifts are within limits too; for the others there is not enough evidence" in verdict.found
    assert verdict.command.endswith("--limit 29")


def test_no_defects_are_no_verdict():
    """Green takes both sides."""
    clean = Counts(good=200, by_score=5)
    verdict = card(*report_of(("clean", "clean", clean)), names=NAMES)
    assert verdict.state == State.UNKNOWN
    assert "no defects shown" in verdict.found
    assert "5 defective parts" in verdict.action


def test_the_numbers_are_now_and_worst():
    noisy, blind = FINE._replace(by_score=9, by_drift=3), FINE._replace(caught=2, lost=42)
    rows, judgements = report_of(("clean", "clean", CLEAN), ("n", "simulated", noisy), ("b", "simulated", blind))
    shown = numbers(rows, judgements)
    assert shown["false_alarms"] == {"now": [1, 46], "worst": [12, 46], "where": "<n>"}
    assert shown["defects"] == {"now": [44, 46], "worst": [2, 46], "where": "<b>"}
    assert shown["within"] == [1, 3]
    assert numbers(*report_of(("clean", "clean", Counts(good=10, by_score=0))))["defects"] is None
