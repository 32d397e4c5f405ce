"""The promise on good parts: exact in integers, marginal and Beta-distributed, refused where it cannot be kept."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gnl_jax.detection.threshold import (
    ALARM_POINT,
    NG,
    OK,
    REVIEW,
    RateError,
    Rules,
    drift_alarm,
    make_drift_rule,
    make_rule,
    make_rules,
    p_counts,
    parse_rate,
    parts_needed,
    percent,
    rate_bound,
)

DRAWS = 10_000
CASES = [(99, Fraction(1, 100)), (19, Fraction(5, 100)), (53, Fraction(5, 100)), (9, Fraction(10, 100))]


@pytest.mark.parametrize(
    ("text", "rate"),
    [("0.01", Fraction(1, 100)), ("1%", Fraction(1, 100)), (0.05, Fraction(1, 20)), (" 2.5 % ", Fraction(1, 40))],
)
def test_rates_are_read_exactly(text, rate):
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["0", "1", "100%", "-0.1", "nan", "inf", "five", "", "1/100"])
def test_what_is_no_rate_is_refused(text):
    with pytest.raises(ValueError, match="rate: got"):
        parse_rate(text)


def test_binary_fractions_do_not_cost_a_part():
    # In binary floating point 0.29 * 100 is 28.999999999999996.
    assert make_rule(parse_rate(0.07), 99).k == 7
    assert make_rule(parse_rate("0.29"), 99).k == 29


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.lists(st.integers(-1, 6), min_size=1, max_size=10))
def test_counts_are_those_of_brute_force_ties_included(calibration, scores):
    calibration, scores = np.array(calibration, np.float32), np.array(scores, np.float32)
    expected = [1 + sum(c >= s for c in calibration) for s in scores]
    assert p_counts(calibration, scores).tolist() == expected


@given(st.lists(st.integers(0, 8), min_size=9, max_size=60), st.fractions(Fraction(1, 8), Fraction(1, 2)))
def test_a_part_is_stopped_exactly_when_its_score_exceeds_the_threshold(calibration, rate):
    calibration, scores = np.array(calibration, np.float32), np.arange(-1, 10, dtype=np.float32)
    rule = make_rule(rate, len(calibration))
    stopped = rule.stops(p_counts(calibration, scores))
    np.testing.assert_array_equal(stopped, scores > rule.threshold(calibration))


def draws(n, seed=0):
    return np.random.default_rng(seed).random((DRAWS, n), dtype=np.float64)


def deviations(rates, expected):
    """The mean's distance from what it should be, in standard errors."""
    return (rates.mean() - expected) / (rates.std(ddof=1) / np.sqrt(len(rates)))


@pytest.mark.parametrize(("n", "rate"), CASES)
def test_without_ties_the_rate_is_beta_distributed_around_the_promise(n, rate):
    rule = make_rule(rate, n)
    rates = np.array([1 - rule.threshold(calibration) for calibration in draws(n)])  # scores are uniform
    assert abs(deviations(rates, rule.k / (n + 1))) < 4
    assert Fraction(rule.k, n + 1) <= rate
    assert stats.kstest(rates, stats.beta(rule.k, n + 1 - rule.k).cdf).pvalue > 1e-3
    bound = rate_bound(rule.k, n, 0.95)
    assert np.mean(rates <= bound) == pytest.approx(0.95, abs=4 * np.sqrt(0.05 * 0.95 / DRAWS))


@pytest.mark.parametrize(("n", "rate"), CASES)
def test_a_quantile_of_numpy_would_not_keep_it(n, rate):
    rates = 1 - np.quantile(draws(n), 1 - float(rate), axis=1)
    assert deviations(rates, make_rule(rate, n).k / (n + 1)) > 4


@pytest.mark.parametrize(("n", "rate"), CASES)
def test_with_ties_fewer_good_parts_are_stopped(n, rate):
    levels = 10
    rule, rates = make_rule(rate, n), []
    for calibration in np.floor(draws(n, seed=1) * levels):
        rates.append(np.mean(np.arange(levels) > rule.threshold(calibration)))  # each level is as likely
    assert deviations(np.array(rates), rule.k / (n + 1)) < 4
    assert np.mean(rates) < rule.k / (n + 1)


@pytest.mark.parametrize(("n", "rate", "level"), [(299, Fraction(1, 100), 0.95), (500, Fraction(1, 20), 0.9)])
def test_with_confidence_most_calibrations_keep_the_rate(n, rate, level):
    rule = make_rule(rate, n, confidence=level)
    rates = np.array([1 - rule.threshold(calibration) for calibration in draws(n)[:3000]])
    kept = np.mean(rates <= rate)
    assert kept >= level - 4 * np.sqrt(level * (1 - level) / 3000)
    assert rate_bound(rule.k + 1, n, level) > rate  # no larger k would do
    assert rule.k < make_rule(rate, n).k or rule.k == 1


@pytest.mark.parametrize(
    ("rate", "confidence", "n"),
    [
        (Fraction(1, 100), None, 99),
        (Fraction(1, 20), None, 19),
        (Fraction(3, 100), None, 33),
        (Fraction(1, 100), 0.95, 299),
    ],
)
def test_parts_needed_is_the_smallest_number(rate, confidence, n):
    assert parts_needed(rate, confidence=confidence) == n
    make_rule(rate, n, confidence=confidence)
    with pytest.raises(RateError, match=rf"takes at least {n} calibration images .* got {n - 1}"):
        make_rule(rate, n - 1, confidence=confidence)


def test_the_promise_in_words():
    assert make_rule(Fraction(1, 100), 99).describe() == "1 % on average, with 95 % confidence at most 3.0 %"
    assert percent(Fraction(1, 40)) == "2.5 %"


@pytest.mark.parametrize(
    ("n", "ng", "review", "notes"),
    [(99, 1, 5, 0), (98, None, 4, 1), (19, None, 1, 1), (18, None, 1, 2), (9, None, 1, 2)],
)
def test_defaults_step_down_aloud(n, ng, review, notes):
    rules, said = make_rules(n)
    assert (rules.ng and rules.ng.k, rules.review.k) == (ng, review)
    assert len(said) == notes


def test_fewer_than_nine_parts_support_nothing():
    with pytest.raises(RateError, match="10 % takes at least 9 calibration images"):
        make_rules(8)


def test_a_rate_that_was_asked_for_is_given_or_refused():
    rules, said = make_rules(199, ng=Fraction(1, 100), review=Fraction(2, 100))
    assert (rules.ng.k, rules.review.k, said) == (2, 4, [])
    with pytest.raises(RateError, match=r"0\.1 % takes at least 999"):
        make_rules(199, ng=Fraction(1, 1000))
    with pytest.raises(ValueError, match="expected at most the rate of review"):
        make_rules(199, ng=Fraction(1, 10), review=Fraction(1, 20))
    with pytest.raises(ValueError, match=r"confidence: got 1\.5"):
        make_rules(199, confidence=1.5)


def test_a_small_rate_of_review_holds_for_rejections_too():
    rules, said = make_rules(199, review=Fraction(5, 1000))
    assert (rules.ng.k, rules.review.k, said) == (1, 1, [])
    rules, said = make_rules(99, ng=Fraction(1, 10))
    assert (rules.ng.k, rules.review.k, said) == (10, 10, [])


def test_drift_has_a_rate_of_its_own_or_says_that_it_has_none():
    assert make_drift_rule(99)[0].k == 1
    assert make_drift_rule(49)[0].rate == Fraction(2, 100)
    assert make_drift_rule(48) == (None, "drift alone flags no part: that takes 49 calibration images, got 48")
    assert make_drift_rule(19, rate=Fraction(5, 100))[0].k == 1
    with pytest.raises(RateError):
        make_drift_rule(18, rate=Fraction(5, 100))


@pytest.mark.parametrize("confidence", [0, 1, 95, float("nan")])
def test_a_confidence_is_a_probability(confidence):
    for refused in (
        lambda: make_rules(99, confidence=confidence),
        lambda: make_drift_rule(99, confidence=confidence),
        lambda: parts_needed(Fraction(1, 100), confidence=confidence),
    ):
        with pytest.raises(ValueError, match="confidence: got"):
            refused()


def test_decisions():
    rules = Rules(make_rule(Fraction(1, 100), 99), make_rule(Fraction(5, 100), 99))
    assert rules.decide(np.array([1, 2, 5, 6, 100])) == [NG, REVIEW, REVIEW, OK, OK]
    assert rules._replace(ng=None).decide(np.array([1, 6])) == [REVIEW, OK]


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="not finite"):
        p_counts(np.array([1.0]), np.array([np.nan]))


def test_a_folder_of_good_parts_is_alarmed_once_in_a_thousand_times():
    n, m, rule = 53, 100, make_rule(Fraction(5, 100), 53)
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(4000):
        calibration, parts = rng.random(n), rng.random(m)
        alarms += drift_alarm(int(rule.stops(p_counts(calibration, parts)).sum()), m, rule)
    assert alarms <= stats.binom.ppf(0.9999, 4000, 0.001)
    assert drift_alarm(60, m, rule)
    assert not drift_alarm(0, 0, rule)


@pytest.mark.parametrize(("rate", "n"), [(Fraction(1, 100), 99), (Fraction(5, 100), 53), (Fraction(2, 100), 399)])
def test_an_alarm_is_above_the_beta_binomial_point(rate, n):
    rule = make_rule(rate, n)
    for m in (1, 3, 10, 100, 2000):
        point = stats.betabinom.ppf(ALARM_POINT, m, rule.k, n + 1 - rule.k)
        small = [*np.arange(m + 1)[:: max(1, m // 100)].tolist(), int(point), int(point) + 1]
        assert [drift_alarm(k, m, rule) for k in small] == [k > point for k in small]
