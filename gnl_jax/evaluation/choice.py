"""Which of several methods to use: one rule on the scores of judging parts, and how often redrawn parts agree.

The rule, for each method:

1. The threshold is set on the unshifted good parts: the lowest one that at most `allowed` of them score above.
2. Under each shift, defects count as detected while at most twice as many good parts are flagged as `allowed`; under
   more false alarms the shift counts 0.
3. The value is half the share of defects detected unshifted, plus half the mean of that share over the shifts.
4. The methods within one defective part of the highest value are near ties. Of these the one with the fewest false
   alarms over all shifts is chosen; of equal ones, the one that was fitted fastest.

Certainty is a paired bootstrap: the judging parts are drawn anew with replacement, the same parts for all methods, and
the whole rule is applied to each draw.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from gnl_jax.evaluation.metrics import check_finite

REDRAWS = 1000
LEAST_GOOD, LEAST_BAD = 20, 10  # judging parts that a recommendation takes; one of 20 is 5 %
BEARABLE = 2  # times the allowed false alarms, under a shift


class Scores(NamedTuple):
    """What a method scores the judging parts, the unshifted ones first, then one row for each shift.

    Attributes:
        good: floats [1 + shifts, good parts].
        bad: floats [1 + shifts, defective parts].
    """

    good: np.ndarray
    bad: np.ndarray


class Counts(NamedTuple):
    """What a method does with the judging parts.

    Attributes:
        threshold: above which a part is flagged.
        alarms: good parts flagged, unshifted and under each shift.
        caught: defective parts flagged, likewise.
        value: what the rule compares, in [0, 1].
    """

    threshold: float
    alarms: tuple[int, ...]
    caught: tuple[int, ...]
    value: float


class Choice(NamedTuple):
    """What the rule says.

    Attributes:
        best: the method that it chooses; "" where `reason` says why none is recommended.
        reason: why none is recommended, "" where one is.
        first: the method that the rule puts first, recommended or not.
        near: the methods within one defective part of the highest value, `first` among them.
        wins: in how many of the redraws the rule chooses each method.
        redraws: how many.
        counts: of each method.
        allowed: good parts that may be flagged unshifted.
        good, bad: how many parts judge.
    """

    best: str
    reason: str
    first: str
    near: tuple[str, ...]
    wins: dict[str, int]
    redraws: int
    counts: dict[str, Counts]
    allowed: int
    good: int
    bad: int


def allowed_alarms(rate: Fraction | float, good: int) -> int:
    """How many of the good parts may be flagged: the rate's share of them, and at least one.

    >>> allowed_alarms(0.05, 40), allowed_alarms(0.05, 13)
    (2, 1)
    """
    return max(1, math.floor(Fraction(rate).limit_denominator(10**6) * good))


def choose(
    scores: Mapping[str, Scores],
    seconds: Mapping[str, float],
    *,
    rate: Fraction | float,
    bad_from: Sequence[int] | None = None,
    redraws: int = REDRAWS,
    seed: int = 0,
) -> Choice:
    """Apply the rule of this module.

    Args:
        scores: of each method, of the same parts in the same order.
        seconds: that fitting each method took.
        rate: of false alarms, unshifted.
        bad_from: for simulated defects, the position of the good part that each one was drawn into: they are redrawn
            together. None: the defective parts are other parts.
        redraws: of the bootstrap.
        seed: of the redraws.

    Raises:
        ValueError: no method, no parts on one side, scores that are not finite or of different shapes.
    """
    good, bad = _checked(scores)
    allowed = min(allowed_alarms(rate, good), good - 1)
    weights = redrawn(good, bad if bad_from is None else np.asarray(bad_from), redraws=redraws, seed=seed)
    names = list(scores)
    counted = [_count(scores[name], *weights, allowed) for name in names]
    values = np.stack([value for *_, value in counted], axis=1)  # [1 + redraws, methods]
    near = values >= values.max(1, keepdims=True) - 1 / bad - 1e-9
    alarms_in_all = np.stack([alarms[:, 1:].sum(1) for _, alarms, _, _ in counted], axis=1)
    slower_ones = np.argsort(np.argsort([seconds[name] for name in names], kind="stable"), kind="stable")
    chosen = np.where(near, alarms_in_all + slower_ones[None] / len(names), np.inf).argmin(1)
    wins = np.bincount(chosen[1:], minlength=len(names))
    counts = {
        name: Counts(float(t[0]), tuple(map(int, alarms[0])), tuple(map(int, caught[0])), float(value[0]))
        for name, (t, alarms, caught, value) in zip(names, counted)
    }
    first, reason = names[chosen[0]], _too_little(counts, good, bad)
    return Choice(
        best="" if reason else first,
        reason=reason,
        first=first,
        near=tuple(name for name, is_near in zip(names, near[0]) if is_near),
        wins={name: int(n) for name, n in zip(names, wins)},
        redraws=redraws,
        counts=counts,
        allowed=allowed,
        good=good,
        bad=bad,
    )


def redrawn(good: int, bad: int | np.ndarray, *, redraws: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each part is in each redraw, the parts as they are first: int [1 + redraws, good] and [..., bad].

    bad: how many defective parts there are, or the good part of each simulated one.
    """
    rng = np.random.default_rng([seed, 5])

    def draw(n: int) -> np.ndarray:
        drawn = rng.multinomial(n, np.full(n, 1 / n), size=redraws)
        return np.concatenate([np.ones((1, n), np.int64), drawn])

    of_good = draw(good)
    return of_good, draw(bad) if isinstance(bad, int) else of_good[:, bad]


def _count(
    scores: Scores, of_good: np.ndarray, of_bad: np.ndarray, allowed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each redraw: threshold [r], good and defective parts flagged [r, 1 + shifts], and the value [r]."""
    order = np.argsort(-scores.good[0], kind="stable")
    above = np.cumsum(of_good[:, order], axis=1) > allowed  # whether a threshold below this score flags too many
    threshold = scores.good[0][order][above.argmax(1)]
    flagged = [
        np.stack([(weights * (row[None] > threshold[:, None])).sum(1) for row in side], axis=1)
        for side, weights in ((scores.good, of_good), (scores.bad, of_bad))
    ]
    alarms, caught = flagged
    share = caught / np.maximum(of_bad.sum(1, keepdims=True), 1)
    useful = np.where(alarms > BEARABLE * allowed, 0.0, share)
    value = useful[:, 0]
    if useful.shape[1] > 1:
        value = (useful[:, 0] + useful[:, 1:].mean(1)) / 2
    return threshold, alarms, caught, value


def _too_little(counts: Mapping[str, Counts], good: int, bad: int) -> str:
    """Why no method is recommended, in words that follow "No recommendation: "; "" where one is."""
    if len(counts) < 2:
        return "one method was fitted, and there is nothing to compare it with."
    lacking = []
    if good < LEAST_GOOD:
        lacking.append(f"{good} good parts judge, and a recommendation takes {LEAST_GOOD}")
    if bad < LEAST_BAD:
        lacking.append(f"{bad} defective parts judge, and a recommendation takes {LEAST_BAD}")
    if lacking:
        return f"{'; '.join(lacking)}."
    if max(c.value for c in counts.values()) == 0:
        return "no method detected a defect without too many false alarms."
    return ""


def _checked(scores: Mapping[str, Scores]) -> tuple[int, int]:
    """How many good and defective parts there are; ValueError as `choose` says."""
    if not scores:
        raise ValueError("scores: got no method, expected at least one")
    shapes = {(s.good.shape, s.bad.shape) for s in scores.values()}
    if len(shapes) > 1:
        raise ValueError(f"scores: got shapes {sorted(shapes)}, expected the same parts for all methods")
    (good, bad) = shapes.pop()
    if len(good) != 2 or len(bad) != 2 or good[0] != bad[0] or min(*good, *bad) < 1 or good[1] < 2:
        raise ValueError(f"scores: got shapes {good} and {bad}, expected two good parts or more and a defective one")
    for name, of_method in scores.items():
        for side in of_method:
            try:
                check_finite(side)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
    return good[1], bad[1]
