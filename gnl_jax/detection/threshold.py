"""When a part is flagged: p-values from good parts alone, in integers, and the rates that n parts support.

A new good part and the n calibration parts are alike (exchangeable), so its rank among them is uniform, whatever the
scores' distribution: P(p <= alpha) <= floor(alpha (n + 1)) / (n + 1), on average over calibrations (split conformal
prediction; Vovk, Gammerman and Shafer 2005). For one calibration the rate is Beta(k, n + 1 - k) distributed, with
k = floor(alpha (n + 1)), where scores do not tie, and smaller where they do.
"""

import contextlib
import decimal
import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Generic, NamedTuple, TypeVar

import numpy as np

OK, REVIEW, NG = "OK", "REVIEW", "NG"
LEVEL = 0.95  # of the bound that is printed beside the average
# Rates tried in this order where none is requested: the first one that the calibration supports.
NG_DEFAULTS, REVIEW_DEFAULTS = (Fraction(1, 100),), (Fraction(5, 100), Fraction(10, 100))
DRIFT_DEFAULTS = (Fraction(1, 100), Fraction(2, 100))
ALARM_POINT = 0.999  # of the distribution of small p-values among good parts, beyond which a folder has drifted


class RateError(ValueError):
    """A false-alarm rate that the calibration images cannot support; the message says how many it takes."""


class Rule(NamedTuple):
    """Flag a part when at most k - 1 of the n calibration parts score as high, that is p <= k / (n + 1).

    Attributes:
        rate: the requested false-alarm rate, exact.
        k, n: see above.
        confidence: None where `rate` is guaranteed on average over calibrations; else it is guaranteed for this
            calibration with at least this probability.
    """

    rate: Fraction
    k: int
    n: int
    confidence: float | None = None

    def stops(self, counts: np.ndarray) -> np.ndarray:
        """bool [b] for the counts (`p_counts`) of b parts."""
        return counts <= self.k

    def threshold(self, calibration: np.ndarray) -> float:
        """A part is flagged when its score is above this one: the k-th largest of the calibration scores [n]."""
        return float(np.sort(calibration)[self.n - self.k])

    def describe(self) -> str:
        """The guarantee in words, such as "1 % on average, with 95 % confidence at most 3.0 %"."""
        level = self.confidence or LEVEL
        bound = rate_bound(self.k, self.n, level)
        average = Fraction(self.k, self.n + 1)
        return f"{percent(average)} on average, with {percent(level)} confidence at most {100 * bound:.1f} %"


Review = TypeVar("Review", bound=Rule | None, covariant=True)


class Rules(NamedTuple, Generic[Review]):
    """The rule of each decision; `ng` is None where too few images calibrate it, `review` too where none does."""

    ng: Rule | None
    review: Review

    def decide(self, counts: np.ndarray) -> list[str]:
        """OK, REVIEW or NG for the counts (`p_counts`) of b parts. ValueError without a rule for REVIEW."""
        if self.review is None:
            raise ValueError("rules: got none for REVIEW, expected one: no decision can be made")
        ng = self.ng.stops(counts) if self.ng else np.zeros(len(counts), bool)
        review = self.review.stops(counts)
        return [NG if n else REVIEW if r else OK for n, r in zip(ng, review)]


def parse_rate(text: "str | float | Fraction") -> Fraction:
    """A false-alarm rate as it is written, exactly: "0.01", 0.01 and "1%" are 1/100. ValueError outside (0, 1).

    >>> parse_rate("2.5%"), parse_rate(0.29)
    (Fraction(1, 40), Fraction(29, 100))
    """
    if isinstance(text, Fraction):
        rate = text
    else:
        number, is_percent = str(text).strip(), False
        if number.endswith("%"):
            number, is_percent = number[:-1].strip(), True
        try:
            rate = Fraction(decimal.Decimal(number)) / (100 if is_percent else 1)
        except (decimal.InvalidOperation, ValueError, OverflowError):
            raise ValueError(f"rate: got {text!r}, expected a decimal such as 0.01 or 1%") from None
    if not 0 < rate < 1:
        raise ValueError(f"rate: got {text!r}, expected more than 0 and less than 1 (100 %)")
    return rate


def percent(rate: "Fraction | float") -> str:
    """A rate as "1 %" or "2.5 %": at most three significant digits."""
    return f"{100 * float(rate):.3g} %"


def p_counts(calibration: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """1 + the number of calibration scores [n] that are at least as high as each score [b] -> int64 [b], 1 to n + 1.

    The p-value is this over n + 1. Ties count against the part. Raises ValueError for a score that is not finite.

    >>> p_counts(np.array([0.1, 0.2, 0.3]), np.array([0.25, 0.9])).tolist()
    [2, 1]
    """
    if not (np.isfinite(calibration).all() and np.isfinite(scores).all()):
        raise ValueError("scores: got one that is not finite, expected numbers")
    return 1 + len(calibration) - np.searchsorted(np.sort(calibration), scores, side="left")


def rate_bound(k: int, n: int, level: float) -> float:
    """The rate that a calibration by n parts does not exceed with probability `level`: that quantile of Beta(k, n+1-k).

    Exact for scores without ties, an upper bound with them.

    >>> round(rate_bound(1, 19, 0.95), 3)  # 19 parts calibrate 5 % on average
    0.146
    """
    from scipy import stats  # which takes as long to import as a detector to load; deciding does without it

    return float(stats.beta.ppf(level, k, n + 1 - k))


def make_rule(rate: Fraction, n: int, *, confidence: float | None = None) -> Rule:
    """The rule with the largest k that n calibration parts allow at the rate. Raises RateError if there is none."""
    check_confidence(confidence)
    k = math.floor(rate * (n + 1))
    if confidence is not None:
        while k and rate_bound(k, n, confidence) > rate:
            k -= 1
    if not k:
        wanted = parts_needed(rate, confidence=confidence)
        held = "" if confidence is None else f" with {percent(confidence)} confidence"
        raise RateError(
            f"a false-alarm rate of {percent(rate)}{held} takes at least {wanted} calibration images (one for each "
            f"part), got {n}"
        )
    return Rule(rate, k, n, confidence)


def parts_needed(rate: Fraction, *, confidence: float | None = None) -> int:
    """The smallest number of calibration parts that supports a rate.

    >>> parts_needed(Fraction(1, 100)), parts_needed(Fraction(1, 100), confidence=0.95)
    (99, 299)
    """
    check_confidence(confidence)
    if confidence is None:
        return math.ceil(1 / rate) - 1
    n = max(1, math.floor(math.log1p(-confidence) / math.log1p(-float(rate))) - 1)
    while rate_bound(1, n, confidence) > rate:
        n += 1
    return n


def make_rules(
    n: int,
    *,
    ng: Fraction | None = None,
    review: Fraction | None = None,
    confidence: float | None = None,
) -> tuple[Rules[Rule], list[str]]:
    """The rules for n calibration parts, and what has to be said about them.

    A requested rate is given or refused (RateError); where it is None, 1 % is rejected and 5 % goes to review as far
    as n supports it, else nothing is rejected and 10 % goes to review. Raises RateError if n supports no review.
    """
    check_confidence(confidence)
    check_order(ng, review)
    least = NG_DEFAULTS[0] if review is None else min(NG_DEFAULTS[0], review)
    ng_rule = _first((least,), n, confidence) if ng is None else make_rule(ng, n, confidence=confidence)
    defaults = REVIEW_DEFAULTS if ng is None else tuple(max(rate, ng) for rate in REVIEW_DEFAULTS)
    reviews = defaults if review is None else (review,)
    review_rule = _first(reviews[:-1], n, confidence) or make_rule(reviews[-1], n, confidence=confidence)
    notes = []
    if ng_rule is None:
        wanted = parts_needed(least, confidence=confidence)
        notes.append(f"nothing is rejected (NG): {percent(least)} takes {wanted} calibration images, got {n}")
    if review_rule.rate != reviews[0]:
        wanted = parts_needed(defaults[0], confidence=confidence)
        notes.append(
            f"REVIEW flags {percent(review_rule.rate)} of good parts: {percent(defaults[0])} takes {wanted} "
            f"calibration images, got {n}"
        )
    return Rules(ng_rule, review_rule), notes


def make_drift_rule(
    n: int, *, rate: Fraction | None = None, confidence: float | None = None
) -> tuple[Rule | None, str]:
    """When drift alone sends a part to review, for n parts that calibrate drift, and what has to be said about it.

    A requested rate is given or refused (RateError); where it is None, 1 % or 2 % if n supports it, else never.
    """
    check_confidence(confidence)
    rule = _first(DRIFT_DEFAULTS, n, confidence) if rate is None else make_rule(rate, n, confidence=confidence)
    if rule is None:
        wanted = parts_needed(DRIFT_DEFAULTS[-1], confidence=confidence)
        return None, f"drift alone flags no part: that takes {wanted} calibration images, got {n}"
    return rule, f"REVIEW for drift alone, beside those: false alarms {rule.describe()}"


def check_order(ng: Fraction | None, review: Fraction | None) -> None:
    """Raises RateError where more parts may be rejected than flagged at all."""
    if ng is not None and review is not None and ng > review:
        raise RateError(f"ng: got {percent(ng)}, expected at most the rate of review, {percent(review)}")


def check_confidence(confidence: float | None) -> None:
    """ValueError for a confidence that is no probability."""
    if confidence is not None and not 0 < confidence < 1:
        raise ValueError(f"confidence: got {confidence}, expected more than 0 and less than 1")


def _first(rates: Iterable[Fraction], n: int, confidence: float | None) -> Rule | None:
    """The rule of the first rate that n supports; None without one."""
    for rate in rates:
        with contextlib.suppress(RateError):
            return make_rule(rate, n, confidence=confidence)
    return None


def drift_alarm(small: int, m: int, rule: Rule) -> bool:
    """Whether more of m good parts have a drift p-value within the rule than chance explains.

    Among m good parts, the number flagged by one calibration is beta-binomial (m, k, n + 1 - k); an alarm is a number
    above its 99.9 % point.
    """
    return m > 0 and _chance(small, m, rule.k, rule.n + 1 - rule.k) <= 1 - ALARM_POINT


def _chance(small: int, m: int, a: int, b: int) -> float:
    """P(at least `small` of m) of a beta-binomial distribution (m, a, b)."""

    def choose(n: int, k: int) -> float:
        return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)

    def term(i: int) -> float:
        return math.exp(choose(a + i - 1, i) + choose(b + m - i - 1, m - i) - choose(a + b + m - 1, m))

    return math.fsum(map(term, range(small, m + 1)))
