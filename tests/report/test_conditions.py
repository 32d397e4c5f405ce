"""Shifts in words, and the sentences of the shift report."""

import pytest
from scipy import stats

from gnl_jax.config import default_config, set_method
from gnl_jax.images.corruptions import FAMILIES, SEVERITIES
from gnl_jax.report.conditions import clopper_pearson, in_words, outcome, seen_in_training, sentence, summary_lines


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 20), (20, 20), (1, 100)])
def test_the_interval_is_the_exact_one(k, n):
    """Each end is the rate at which what was seen, or more of it, has a chance of 2.5 %."""
    low, high = clopper_pearson(k, n)
    assert low == 0 if k == 0 else stats.binom.sf(k - 1, n, low) == pytest.approx(0.025)
    assert high == 1 if k == n else stats.binom.cdf(k, n, high) == pytest.approx(0.025)
    assert clopper_pearson(0, 0) == [0.0, 1.0]


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


def test_a_sentence_says_what_happened_and_what_to_do():
    options = {"n": 20, "promised": 0.05, "alarm": False, "clean": False}
    assert sentence("lamp +27 %", stopped=1, **options) == (
        "lamp +27 %: 1 of 20 good parts stopped; promised 5 in 100; holds"
    )
    assert sentence("x", stopped=3, **options).endswith("which so few parts may be by chance")
    assert sentence("x", stopped=9, **options).endswith("recalibrate or remove the cause")
    assert sentence("x", stopped=0, **options | {"alarm": True}).endswith("the drift is seen, the decisions hold")
    assert sentence("clean", stopped=9, **options | {"clean": True}).endswith("are these parts like those fitted?")


def test_the_same_rule_marks_counts_and_words():
    assert [outcome(stopped=k, n=20, promised=0.05) for k in (0, 1, 2, 5)] == ["within", "within", "unsure", "over"]
    assert outcome(stopped=0, n=0, promised=0.05) == "unknown"


def condition(name, stopped, *defects):
    rows = [{"name": "crack", "n": 10, "stopped": k, "rejected": 0} for k in defects]
    return {"name": name, "n": 20, "stopped": stopped, "sentence": f"<{name}>", "defects": rows}


def test_the_summary_counts_what_holds_and_names_the_worst():
    lines = summary_lines([condition("clean", 4, 9), condition("a", 4, 8), condition("b", 1, 3)], promised=0.05)
    assert lines[0] == "<clean>"
    assert lines[1] == "In 1 of 2 changed conditions no more good parts are stopped than promised."
    assert lines[2] == "Worst: <a>"
    assert lines[3] == "90 % of defective parts are stopped as they are, 30 % under b, the fewest."
    assert len(summary_lines([condition("clean", 0)], promised=0.05)) == 2
