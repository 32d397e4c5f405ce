"""Verdicts: what counts show, which state they have, how often that is wrong, and what to do next."""

import numpy as np
import pytest
from scipy import stats

from experiments.verdict_simulation import DETECTORS, tally, wrong_share
from gnl_jax.detection.advice import GRAVITY, State, advise
from gnl_jax.detection.evidence import (
    at_most,
    holm,
    lost_at_most,
    lower_bound,
    not_lower,
    parts_to_pass,
    parts_with,
    upper_bound,
)
from gnl_jax.detection.limits import Counts, make_limits
from gnl_jax.detection.verdict import (
    Batch,
    Choice,
    choose,
    judge,
    judge_batch,
    parts_for_verdict,
    probably_blind,
    worst,
)

LIMITS = make_limits(0.05)
FINE = Counts(good=46, by_score=1, bad=46, caught=44, lost=0, gained=0)


def state(**fields):
    return judge([FINE._replace(**fields)], LIMITS)[0].state


def test_bounds_are_the_exact_ones():
    for k, n in ((0, 10), (3, 20), (20, 20)):
        both = stats.binomtest(k, n).proportion_ci(0.9, method="exact")  # 5 % on either side
        assert (lower_bound(k, n), upper_bound(k, n)) == pytest.approx((both.low, both.high))
    assert (lower_bound(0, 0), upper_bound(0, 0)) == (0, 1)


def test_a_claim_is_shown_exactly_where_the_bound_is_within_the_limit():
    for n in (1, 10, 28, 29, 46):
        for k in range(n + 1):
            claim = at_most(k, n, 0.1)
            assert claim.shown == (upper_bound(k, n) <= 0.1)
            assert (claim.above <= 0.05) == (lower_bound(k, n) >= 0.1)


def test_no_parts_show_nothing():
    assert at_most(0, 0, 0.1) == (False, 1.0, 29)
    assert judge([Counts(0, 0)], LIMITS)[0] == (*[State.UNKNOWN] * 3, 29, 5)


def test_enough_parts_decide():
    for k, n in ((0, 10), (1, 20), (2, 18), (5, 30), (3, 40)):
        enough = at_most(k, n, 0.1).enough
        share = k / n
        below = at_most(int(np.ceil(share * enough - 1e-9)), enough, 0.1).shown
        assert enough > n
        assert below or at_most(int(share * enough), enough, 0.1).above <= 0.05
    assert at_most(2, 20, 0.1).enough is None  # the share is the limit: no number decides


def test_parts_that_pass_are_the_fewest():
    assert [parts_with(k, 0.1) for k in range(3)] == [29, 46, 61]
    assert at_most(1, 46, 0.1).shown
    assert not at_most(1, 45, 0.1).shown
    n = parts_to_pass(0.05, 0.1)
    assert n == 179
    rng = np.random.default_rng(0)
    passed = np.mean([at_most(int(k), n, 0.1).shown for k in rng.binomial(n, 0.05, 4000)])
    assert 0.78 < passed < 0.84
    assert parts_to_pass(0.1, 0.1) is None
    assert parts_for_verdict(LIMITS) == (46, 46)


def test_losses_are_paired_and_noise_refutes_nothing():
    assert lost_at_most(0, 0, 29, 0.1).shown
    assert not lost_at_most(0, 0, 28, 0.1).shown
    assert lost_at_most(12, 0, 40, 0.1).above < 0.01
    assert lost_at_most(12, 11, 40, 0.1).above > 0.4  # as many gained


def test_other_parts_are_compared_without_pairs():
    assert not_lower(49, 49, 49, 49, 0.1).shown
    assert not not_lower(10, 10, 10, 10, 0.1).shown
    assert not_lower(3, 49, 40, 49, 0.1).above < 1e-5
    assert not_lower(40, 49, 40, 49, 0.1).above == 1
    assert not_lower(0, 0, 40, 49, 0.1) == (False, 1, None)
    # Wrong in at most 5 %, at the margin exactly.
    rng = np.random.default_rng(0)
    draws = zip(rng.binomial(60, 0.8, 3000), rng.binomial(60, 0.9, 3000))
    claims = [not_lower(int(k), 60, int(before), 60, 0.1) for k, before in draws]
    assert np.mean([c.shown for c in claims]) <= 0.05
    assert np.mean([c.above <= 0.05 for c in claims]) <= 0.05


def test_holm_is_step_down():
    assert holm([0.01, 0.04, 0.02]) == [True, True, True]
    assert holm([0.02, 0.04, 0.03]) == [False, False, False]
    assert holm([0.001, 0.5, 0.03]) == [True, False, False]
    assert holm([]) == []


def test_states():
    assert state() == State.WITHIN
    assert state(good=10, by_score=0) == State.UNKNOWN
    assert state(by_score=30) == State.ALARMS
    assert state(by_score=30, drift_seen=True) == State.DRIFTED
    assert state(by_drift=30) == State.DRIFTED
    assert state(drift_seen=True) == State.WITHIN  # drift alone is no fault
    assert state(caught=20, lost=24) == State.MISSING
    assert state(caught=20, lost=24, by_score=40) == State.MISSING
    both = judge([FINE._replace(caught=20, lost=24, by_score=40)], LIMITS)[0]
    assert (both.alarms, both.defects) == (State.ALARMS, State.MISSING)
    assert state(caught=2, lost=0) == State.MISSING  # blind before and after
    assert state(lost=None, gained=None) == State.WITHIN
    assert state(lost=None, gained=None, bad_before=46, caught_before=46, caught=20) == State.MISSING


def test_no_condition_is_within_limits_with_no_defect_found():
    """0 of 5 defects: never "within limits"; 0 false alarms of 20 are too few."""
    assert state(bad=5, caught=0, lost=0) != State.WITHIN
    assert state(bad=0, caught=0, lost=None, gained=None) == State.UNKNOWN
    few = judge([FINE._replace(good=20, by_score=0)], LIMITS)[0]
    assert few == (State.UNKNOWN, State.UNKNOWN, State.WITHIN, 29, None)


def test_naming_is_corrected_and_passing_is_not():
    weak = FINE._replace(by_score=10)  # p = 0.02 alone
    assert judge([weak], make_limits(0.05, margin=0.4, least_caught=0.01))[0].state == State.UNKNOWN
    strong = FINE._replace(by_score=20)
    states = [j.state for j in judge([FINE] * 30 + [strong], LIMITS)]
    assert states == [State.WITHIN] * 30 + [State.ALARMS]
    assert worst(states) == State.ALARMS
    assert worst([State.WITHIN, State.UNKNOWN]) == State.UNKNOWN
    assert worst([State.WITHIN] * 3) == State.WITHIN
    assert set(GRAVITY) == set(State) - {State.NO_DRIFT}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"acceptable": 0.05}, "more than the target 0.05"),
        ({"acceptable": 1.0}, "less than 1"),
        ({"margin": 0.0}, "margin: got 0.0"),
        ({"least_caught": 1.0}, "least_caught: got 1.0"),
    ],
)
def test_limits_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_limits(0.05, **arguments)


def test_a_batch_without_labels_is_never_judged():
    names = {"detector": "a part.gnl"}
    calm = judge_batch(Batch(20, 1, 0, 1, 1.0, False, 3), names=names)
    assert calm.state == State.NO_DRIFT
    assert "1 of 20 parts flagged (1 by score, 0 by drift alone)" in calm.found
    drifted = judge_batch(Batch(20, 4, 6, 17, 1.0, True, 3), names=names)
    assert drifted.state == State.DRIFTED
    assert "DRIFT: 17 of 20 parts show drift; about 1.0 would by chance" in drifted.found
    assert "unknown" in drifted.found
    assert drifted.command.startswith("gnl-jax recalibrate 'a part.gnl' --good VERIFIED_GOOD")
    assert judge_batch(Batch(2, 0, 0, 2, 0.1, False, 3), names=names).state == State.UNKNOWN
    assert "not measured" in judge_batch(Batch(2, 0, 0), names=names).found
    assert all("limits" not in v.found for v in (calm, drifted))


def test_each_state_has_one_action_and_a_command():
    for each in State:
        verdict = advise(each, "x", names={"detector": "p.gnl", "good": "a b", "bad": "$x"}, enough=(29, 5))
        assert verdict.action
        assert verdict.command.startswith("gnl-jax ")
    unknown = advise(State.UNKNOWN, "x", names={"good": "a b", "bad": "$x"}, enough=(92, 46), simulated=True)
    assert unknown.command == "gnl-jax shift DETECTOR --good 'a b' --bad '$x' --limit 92 --limit-bad 46"
    assert "92 good and 46 defective parts" in unknown.action
    assert "--limit" not in advise(State.UNKNOWN, "x", names={}, enough=(92, 46)).command


def test_a_recalibrated_detector_is_kept_replaced_or_refitted():
    old = Counts(good=46, by_score=0, bad=16, caught=15)
    assert choose(old, blind=True, limits=LIMITS) == Choice.KEEP
    assert choose(old._replace(by_score=20), blind=False, limits=LIMITS) == Choice.REPLACE
    assert choose(old._replace(by_drift=20), blind=False, limits=LIMITS) == Choice.REPLACE
    assert choose(old._replace(by_score=20), blind=True, limits=LIMITS) == Choice.REFIT
    assert choose(old._replace(caught=2), blind=True, limits=LIMITS) == Choice.REFIT


def test_blindness_is_found_with_defects_or_by_the_threshold():
    def blind(above_clean=False, **fields):
        return probably_blind(FINE._replace(**fields), above_clean=above_clean, limits=LIMITS)

    assert blind(bad=16, caught=3, lost=3)  # 6 of 16 before, 3 now
    assert not blind()
    assert not blind(above_clean=True)  # enough defects are caught
    assert blind(above_clean=True, bad=0)
    assert blind(above_clean=True, bad=5, caught=3)  # too few to overrule the threshold
    assert blind(caught=30, lost=16)


@pytest.mark.parametrize("name", DETECTORS)
def test_wrong_verdicts_are_rare(name):
    counted = tally(DETECTORS[name], good=46, bad=46, conditions=8, runs=150, seed=1)
    for where, found in counted.items():
        # 5 %, and what 150 reports (or their 1,200 conditions, which share parts) may differ by chance at 99.9 %.
        most = stats.binom.ppf(0.999, 150, 0.05) / 150
        assert wrong_share(DETECTORS[name], where, found) <= most, where


def test_what_is_plain_is_seen():
    noisy = tally(DETECTORS["noisy, 30 %"], good=46, bad=46, conditions=4, runs=50, seed=2)
    assert noisy["unshifted"][State.ALARMS] > 30
    drifted = tally(DETECTORS["drifted: 40 % by score, 30 % by drift"], good=46, bad=46, conditions=4, runs=50, seed=2)
    assert drifted["a shift"][State.DRIFTED] > 150
    blind = tally(DETECTORS["blind: catches 5 %"], good=46, bad=46, conditions=4, runs=50, seed=2)
    assert blind["unshifted"][State.MISSING] == 50
