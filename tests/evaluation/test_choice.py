"""The rule that chooses a method, on scores made by hand."""

from fractions import Fraction

import numpy as np
import pytest

from gnl_jax.evaluation.choice import Scores, allowed_alarms, choose, redrawn
from gnl_jax.report.compare_words import recommendation

GOOD = np.arange(20) / 20  # at 5 % one of them may be flagged: the threshold is 0.9
RATE = Fraction(1, 20)


def scores(caught, *, alarms=(1, 1, 1), bad=20):
    """A method that catches so many defects, and flags so many good parts, unshifted and under two shifts."""
    shifted = [np.where(np.arange(20) < n, 2.0, 0.0) for n in alarms[1:]]
    return Scores(np.stack([GOOD, *shifted]), np.stack([np.where(np.arange(bad) < n, 2.0, 0.0) for n in caught]))


def test_counts_and_value():
    choice = choose({"a": scores((16, 10, 6)), "b": scores((4, 4, 4))}, {"a": 9.0, "b": 1.0}, rate=RATE)
    a = choice.counts["a"]
    assert (a.alarms, a.caught) == ((1, 1, 1), (16, 10, 6))
    assert a.threshold == GOOD[18]
    assert a.value == pytest.approx((16 / 20 + (10 / 20 + 6 / 20) / 2) / 2)
    assert (choice.best, choice.reason, choice.near, choice.allowed) == ("a", "", ("a",), 1)
    assert (choice.good, choice.bad, choice.redraws) == (20, 20, 1000)
    assert choice.wins["a"] > 950
    assert sum(choice.wins.values()) == 1000


def test_a_shift_with_too_many_false_alarms_counts_nothing():
    at_most = scores((10, 20, 20), alarms=(1, 2, 2))
    too_many = scores((10, 20, 20), alarms=(1, 3, 3))
    choice = choose({"alarming": too_many, "calm": at_most}, {"alarming": 1.0, "calm": 100.0}, rate=RATE)
    assert choice.best == "calm"
    assert choice.counts["alarming"].value == pytest.approx(10 / 20 / 2)
    assert choice.counts["calm"].value == pytest.approx((10 / 20 + 1) / 2)


def test_near_ties_go_to_the_fewest_false_alarms_under_shifts():
    methods = {"calm": scores((15, 0, 0), alarms=(1, 3, 9)), "alarming": scores((16, 0, 0), alarms=(1, 20, 20))}
    choice = choose(methods, {"calm": 60.0, "alarming": 2.0}, rate=RATE)
    assert choice.best == "calm"
    assert set(choice.near) == {"calm", "alarming"}
    said = recommendation(choice, {"calm": 60.0, "alarming": 2.0}, defects="dents")["details"]
    assert "calm raises fewer false alarms under the shifts, 12 in all and not 40." in said


def test_equal_ones_go_to_the_fastest_fit():
    methods = {"slow": scores((16, 10, 10)), "fast": scores((15, 10, 10)), "worse": scores((13, 8, 8))}
    choice = choose(methods, {"slow": 60.0, "fast": 2.0, "worse": 1.0}, rate=RATE)
    assert choice.best == "fast"
    assert set(choice.near) == {"slow", "fast"}


def test_without_shifts_the_unshifted_parts_decide():
    one = {name: Scores(s.good[:1], s.bad[:1]) for name, s in (("a", scores((4, 0, 0))), ("b", scores((16, 0, 0))))}
    choice = choose(one, {"a": 1.0, "b": 9.0}, rate=RATE)
    assert (choice.best, choice.counts["b"].value) == ("b", 0.8)


def test_the_same_parts_are_redrawn_for_all_methods():
    """Of two methods with the same scores the faster one is chosen in every redraw."""
    same = scores((10, 8, 6))
    choice = choose({"slow": same, "fast": same}, {"slow": 2.0, "fast": 1.0}, rate=RATE)
    assert choice.wins == {"slow": 0, "fast": 1000}
    again = choose({"slow": same, "fast": same}, {"slow": 2.0, "fast": 1.0}, rate=RATE)
    assert again == choice


def test_certainty_is_lower_where_parts_disagree():
    """One catches the first half of the defects and one the second half, two more: neither is sure."""
    one, other = scores((10, 10, 10)), scores((12, 12, 12))
    other = other._replace(bad=other.bad[:, ::-1].copy())
    choice = choose({"a": one, "b": other}, {"a": 1.0, "b": 1.0}, rate=RATE)
    assert choice.best == "b"
    assert 500 < choice.wins["b"] < 900


def test_simulated_defects_are_redrawn_with_their_parts():
    of_good, of_bad = redrawn(4, np.array([0, 0, 3, 3]), redraws=50, seed=0)
    assert (of_good[0] == 1).all()
    assert (of_good.sum(1) == 4).all()
    np.testing.assert_array_equal(of_bad, of_good[:, [0, 0, 3, 3]])
    assert len(np.unique(of_good, axis=0)) > 20


def test_ties_of_good_parts_never_exceed_the_rate():
    tied = Scores(np.array([[1.0] * 5 + [0.0] * 15]), np.array([[0.5, 1.0, 2.0] * 4]))
    choice = choose({"a": tied, "b": tied}, {"a": 1.0, "b": 2.0}, rate=RATE)
    assert choice.counts["a"].alarms == (0,)
    assert choice.counts["a"].caught == (4,)


@pytest.mark.parametrize(
    ("methods", "reason"),
    [
        ({"a": scores((9, 9, 9))}, "nothing to compare"),
        ({"a": scores((9, 9, 9), bad=9), "b": scores((1, 1, 1), bad=9)}, "9 defective parts judge"),
        ({"a": scores((0, 0, 0)), "b": scores((0, 0, 0))}, "no method detected a defect"),
    ],
)
def test_too_little_for_a_recommendation(methods, reason):
    choice = choose(methods, dict.fromkeys(methods, 1.0), rate=RATE)
    assert choice.best == ""
    assert reason in choice.reason
    assert choice.first == "a"


def test_too_few_good_parts():
    few = {name: s._replace(good=s.good[:, :19]) for name, s in (("a", scores((9, 9, 9))), ("b", scores((1, 1, 1))))}
    choice = choose(few, {"a": 1.0, "b": 1.0}, rate=RATE)
    assert (choice.best, choice.allowed) == ("", 1)
    assert "19 good parts judge, and a recommendation takes 20" in choice.reason


def test_allowed_alarms_of_exact_rates():
    assert allowed_alarms(0.07, 100) == 7
    assert allowed_alarms(Fraction(1, 20), 19) == 1
    assert allowed_alarms(0.05, 59) == 2


def test_scores_that_cannot_be_compared():
    with pytest.raises(ValueError, match="got no method"):
        choose({}, {}, rate=RATE)
    with pytest.raises(ValueError, match="the same parts"):
        choose({"a": scores((1, 1, 1)), "b": scores((1, 1, 1), bad=9)}, {"a": 1, "b": 1}, rate=RATE)
    broken = scores((1, 1, 1))
    broken.bad[0, 0] = np.nan
    with pytest.raises(ValueError, match="a: scores: 1 of 60 are not finite"):
        choose({"a": broken}, {"a": 1}, rate=RATE)
    with pytest.raises(ValueError, match="two good parts"):
        choose({"a": Scores(np.zeros((1, 1)), np.zeros((1, 1)))}, {"a": 1}, rate=RATE)
