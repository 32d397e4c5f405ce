"""Shift reports of detectors whose true rates are known, simulated part by part."""

from collections import Counter
from typing import NamedTuple

import numpy as np
from scipy import stats

from gnl_jax.detection.advice import State
from gnl_jax.detection.limits import Counts, make_limits
from gnl_jax.detection.verdict import judge, worst

CORRELATION = 0.9  # of a defective part's scores


class Detector(NamedTuple):
    """True rates: good parts flagged by score and by drift alone; defects caught unshifted and under the shift."""

    by_score: float
    by_drift: float
    caught: float
    caught_shifted: float
    drift_seen: bool
    wrong: tuple[State, ...]


_BAD = (State.MISSING, State.ALARMS, State.DRIFTED)
DETECTORS = {
    "within, at 1 %": Detector(0.01, 0.01, 0.95, 0.95, False, _BAD),
    "within, at its target of 5 %": Detector(0.05, 0.01, 0.95, 0.95, False, _BAD),
    "just above the acceptable 10 %": Detector(0.1001, 0.01, 0.95, 0.95, False, (State.WITHIN, State.MISSING)),
    "noisy, 30 %": Detector(0.30, 0.01, 0.95, 0.95, False, (State.WITHIN, State.MISSING, State.DRIFTED)),
    "blind: catches 5 %": Detector(0.05, 0.01, 0.05, 0.05, False, (State.WITHIN, State.ALARMS, State.DRIFTED)),
    "blinded by the shift: 95 to 50 %": Detector(
        0.05, 0.01, 0.95, 0.50, False, (State.WITHIN, State.ALARMS, State.DRIFTED)
    ),
    "loses 11 % under the shift": Detector(0.01, 0.01, 0.95, 0.84, False, (State.WITHIN, State.ALARMS, State.DRIFTED)),
    "drifted: 40 % by score, 30 % by drift": Detector(0.40, 0.30, 0.95, 0.95, True, (State.WITHIN, State.MISSING)),
}
LIMITS = make_limits(0.05)


def report(
    rng: np.random.Generator, detector: Detector, *, good: int, bad: int, conditions: int
) -> tuple[State, list[State]]:
    """The state of the unshifted parts, and of each shifted condition, in one report."""
    base = rng.standard_normal(bad)
    unshifted = base < stats.norm.ppf(detector.caught)
    before = _good(rng, detector, good)._replace(bad=bad, caught=int(unshifted.sum()))
    shifted = []
    for _ in range(conditions):
        score = CORRELATION * base + np.sqrt(1 - CORRELATION**2) * rng.standard_normal(bad)
        now = score < stats.norm.ppf(detector.caught_shifted)
        pairs = {"lost": int((unshifted & ~now).sum()), "gained": int((~unshifted & now).sum())}
        shifted.append(_good(rng, detector, good)._replace(bad=bad, caught=int(now.sum()), **pairs))
    return judge([before], LIMITS)[0].state, [judgement.state for judgement in judge(shifted, LIMITS)]


def _good(rng: np.random.Generator, detector: Detector, n: int) -> Counts:
    by_score, by_drift = rng.random((2, n)) < np.array([[detector.by_score], [detector.by_drift]])
    alone = by_drift & ~by_score
    return Counts(n, int(by_score.sum()), int(alone.sum()), drift_seen=detector.drift_seen)


def tally(detector: Detector, *, good: int, bad: int, conditions: int, runs: int, seed: int) -> dict[str, Counter]:
    """Shares of the states: of unshifted parts, of single shifted conditions, of all shifted conditions together."""
    found = {"unshifted": Counter(), "a shift": Counter(), "all shifts": Counter()}
    for run in range(runs):
        rng = np.random.default_rng([seed, run])
        now, shifted = report(rng, detector, good=good, bad=bad, conditions=conditions)
        found["unshifted"][now] += 1
        found["a shift"].update(shifted)
        found["all shifts"][worst(shifted)] += 1
    return found


def wrong_share(detector: Detector, where: str, counted: Counter) -> float:
    """The share of verdicts that the true rates contradict; unshifted, what only a shift does is not there yet."""
    wrong = detector.wrong
    if where == "unshifted" and detector.caught != detector.caught_shifted:
        wrong = _BAD
    return sum(counted[state] for state in wrong) / counted.total()
