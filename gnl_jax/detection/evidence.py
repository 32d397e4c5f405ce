"""What counts of parts show about a rate: one-sided exact binomial tests, and how many parts would be enough.

A claim has two sides, each tested at 5 %: the rate is shown to be at most a limit, or shown to be above it. Between the
two there is not enough evidence. All tests are SciPy's.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LEVEL = 0.95  # of every one-sided bound: a claim is wrong with a probability of at most 5 %
MOST_PARTS = 10_000  # looked at when counting how many parts would be enough
_ALPHAS = np.geomspace(1e-8, 0.5, 100)  # levels at which two rates are compared


class Claim(NamedTuple):
    """What is known of "this rate is at most its limit".

    Attributes:
        shown: the rate is at most the limit, with `LEVEL` confidence.
        above: p-value of "the rate is at most the limit"; a small one shows that it is above.
        enough: parts that would decide if the share stayed as it is; None beyond `MOST_PARTS`, and where it is decided.
    """

    shown: bool
    above: float
    enough: int | None


@functools.cache
def _stats():
    """scipy's, which take as long to import as a detector to load: most verdicts do without them."""
    from scipy import stats

    return stats


def upper_bound(k: int, n: int) -> float:
    """The rate that k of n parts do not exceed, one-sided (Clopper and Pearson 1934); 1 for n = 0.

    >>> round(upper_bound(0, 29), 3)  # no false alarm among 29 good parts
    0.098
    """
    return float(_stats().binomtest(k, n, alternative="less").proportion_ci(LEVEL, "exact").high) if n else 1.0


def lower_bound(k: int, n: int) -> float:
    """The rate that k of n parts at least have, one-sided (Clopper and Pearson 1934); 0 for n = 0.

    >>> round(lower_bound(24, 24), 3)  # all of 24 defects caught
    0.883
    """
    return float(_stats().binomtest(k, n, alternative="greater").proportion_ci(LEVEL, "exact").low) if n else 0.0


@functools.lru_cache(1 << 16)
def at_most(k: int, n: int, limit: float) -> Claim:
    """The claim that a rate, of which k of n parts were seen, is at most `limit`."""
    if n == 0:
        return Claim(False, 1.0, parts_with(0, limit))
    shown = _stats().binomtest(k, n, limit, alternative="less").pvalue <= 1 - LEVEL
    above = float(_stats().binomtest(k, n, limit, alternative="greater").pvalue)
    return Claim(bool(shown), above, None if shown or above <= 1 - LEVEL else _enough(k / n, n, limit))


@functools.lru_cache(1 << 16)
def lost_at_most(lost: int, gained: int, n: int, margin: float) -> Claim:
    """The claim that at most `margin` of the defective parts are lost: caught before, missed now. Paired.

    Gains do not make up for losses where the claim is shown. It is refuted only if more are lost than gained as well
    (McNemar's exact test), so that decisions near a threshold, which fall both ways, refute nothing.
    """
    claim = at_most(lost, n, margin)
    unequal = _stats().binomtest(lost, lost + gained, 0.5, alternative="greater").pvalue if lost + gained else 1.0
    return claim._replace(above=max(claim.above, float(unequal)))


@functools.lru_cache(1 << 16)
def not_lower(k: int, n: int, k_before: int, n_before: int, margin: float) -> Claim:
    """The claim that a rate, k of n, is not lower by more than `margin` than another one of other parts. Unpaired.

    Each rate has its exact bound at half the level (Bonferroni), which needs no assumption. The p-value is the smallest
    of a grid of levels at which the bounds separate, so it is rounded up.
    """
    if not n or not n_before:
        return Claim(False, 1.0, None)

    def bounds(k: int, n: int, alpha: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        low = _stats().beta.ppf(alpha / 2, k, n - k + 1) if k else np.zeros_like(alpha)
        return low, _stats().beta.ppf(1 - alpha / 2, k + 1, n - k) if k < n else np.ones_like(alpha)

    alpha = np.array([1 - LEVEL, *_ALPHAS])
    (low, high), (low_before, high_before) = bounds(k, n, alpha), bounds(k_before, n_before, alpha)
    apart = np.flatnonzero(high[1:] < low_before[1:] - margin)
    above = float(_ALPHAS[apart[0]]) if apart.size else 1.0
    return Claim(bool(low[0] >= high_before[0] - margin), above, None)


def holm(p_values: Sequence[float]) -> list[bool]:
    """Which hypotheses are rejected at 1 - `LEVEL` for all of them together (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [True, False, False]
    """
    rejected = [False] * len(p_values)
    for rank, i in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[i] > (1 - LEVEL) / (len(p_values) - rank):
            break
        rejected[i] = True
    return rejected


def parts_with(events: int, limit: float) -> int | None:
    """The smallest number of parts among which `events` events still show a rate of at most `limit`."""
    n = np.arange(events + 1, MOST_PARTS + 1)
    decided = np.flatnonzero(_stats().binom.cdf(events, n, limit) <= 1 - LEVEL)
    return int(n[decided[0]]) if decided.size else None


def parts_to_pass(rate: float, limit: float, *, power: float = 0.8) -> int | None:
    """Parts with which a detector whose true rate is `rate` shows "at most `limit`" with probability `power`."""
    n = np.arange(1, MOST_PARTS + 1)
    most = _stats().binom.ppf(1 - LEVEL, n, limit)  # the smallest count whose probability reaches 5 %
    most = np.where(_stats().binom.cdf(most, n, limit) <= 1 - LEVEL, most, most - 1)
    passes = np.flatnonzero(np.where(most >= 0, _stats().binom.cdf(most, n, rate), 0) >= power)
    return int(n[passes[0]]) if passes.size else None


def _enough(share: float, n: int, limit: float) -> int | None:
    """The smallest number of parts above n at which this share is shown to be at most the limit, or above it."""
    for most in (4 * n, MOST_PARTS):  # mostly a few parts more
        more = np.arange(n + 1, most + 1)
        below = _stats().binom.cdf(np.ceil(share * more - 1e-9), more, limit) <= 1 - LEVEL
        above = _stats().binom.sf(np.floor(share * more + 1e-9) - 1, more, limit) <= 1 - LEVEL
        if (decided := np.flatnonzero(below | above)).size:
            return int(more[decided[0]])
    return None
