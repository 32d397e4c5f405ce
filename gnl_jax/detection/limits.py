"""What is acceptable of a detector, and the counts of parts that it is judged by."""

from fractions import Fraction
from typing import NamedTuple

ACCEPTABLE = 2  # times the target false-alarm rate: a detector at its target can pass with a finite number of parts
MARGIN = 0.10  # of the defective parts may be lost under a shift
LEAST_CAUGHT = 0.5  # of the defective parts: below, every second defect is missed


class Limits(NamedTuple):
    """What is acceptable, as fractions.

    Attributes:
        target: false-alarm rate that the detector was calibrated for, by score.
        acceptable: false-alarm rate by score, and again by drift alone, that good parts may have.
        margin: defective parts that may be lost: caught unshifted, missed under the shift.
        least_caught: defective parts to catch under every condition.
    """

    target: float
    acceptable: float
    margin: float = MARGIN
    least_caught: float = LEAST_CAUGHT


def make_limits(
    target: float | Fraction,
    *,
    acceptable: float | Fraction | None = None,
    margin: float = MARGIN,
    least_caught: float = LEAST_CAUGHT,
) -> Limits:
    """Limits for a target false-alarm rate; `acceptable` is twice the target if left out.

    Raises:
        ValueError: an acceptable rate that is not above the target (no number of parts could show it) or not below 1,
            or a margin or least share of caught defects outside (0, 1).
    """
    rate = ACCEPTABLE * float(target) if acceptable is None else float(acceptable)
    if not float(target) < rate < 1:
        raise ValueError(f"acceptable: got {rate:g}, expected more than the target {float(target):g} and less than 1")
    for name, value in (("margin", margin), ("least_caught", least_caught)):
        if not 0 < value < 1:
            raise ValueError(f"{name}: got {value}, expected more than 0 and less than 1")
    return Limits(float(target), rate, float(margin), float(least_caught))


class Counts(NamedTuple):
    """Counts of parts under one condition.

    Attributes:
        good, by_score, by_drift: good parts; those flagged by score; those flagged by drift alone.
        bad, caught: defective parts; those flagged.
        lost, gained: of the same defective parts, caught unshifted and missed here, and the reverse; None if other
            parts, or none, were shown unshifted.
        bad_before, caught_before: other defective parts, unshifted; 0 if there are none.
        drift_seen: whether the parts as a whole have drifted.
    """

    good: int
    by_score: int
    by_drift: int = 0
    bad: int = 0
    caught: int = 0
    lost: int | None = None
    gained: int | None = None
    bad_before: int = 0
    caught_before: int = 0
    drift_seen: bool = False
