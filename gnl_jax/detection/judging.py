"""Judging parts: good parts that methods are compared on, held out from those that are learned from or calibrate."""

from typing import NamedTuple

from gnl_jax.detection.near_copies import near_copies
from gnl_jax.detection.parts import LEAST_CALIBRATION, LEAST_FIT, GoodImages, split_parts
from gnl_jax.detection.threshold import RateError

SHARE = 3  # one part in so many judges
LEAST, ENOUGH, MOST = 9, 20, 150  # judging parts: at all, for a false-alarm rate of 5 %, and so that scoring is brief


class Division(NamedTuple):
    """Images for a fit, which divides them into those that are learned from and those that calibrate; and the others.

    Attributes:
        fit: learned from, or calibrate.
        judging: no part of a fit.
    """

    fit: GoodImages
    judging: GoodImages


def judging_parts(n: int) -> int:
    """How many of n parts judge: a third, at most 150, and at least 20 where that leaves 27 for the fit.

    Raises RateError where too few are left to learn from and to calibrate.

    >>> judging_parts(27), judging_parts(47), judging_parts(240)
    (9, 20, 80)
    """
    least = LEAST_FIT + LEAST_CALIBRATION
    if n < least + LEAST:
        raise RateError(
            f"got good images of {n} parts, expected at least {least + LEAST}: {LEAST} to judge the methods, "
            f"{LEAST_CALIBRATION} to calibrate and {LEAST_FIT} to learn from"
        )
    third = min(round(n / SHARE), MOST)
    return max(third, min(ENOUGH, n - least - LEAST)) if third < ENOUGH else third


def divide_to_judge(good: GoodImages, *, seed: int) -> Division:
    """The division of good images that all methods share, by part and drawn from the seed."""
    rest, judging = split_parts(good.parts, judging_parts(len(set(good.parts))), seed=seed)
    return Division(good.take(rest), good.take(judging))


def near_copies_of_fit(division: Division) -> str:
    """A warning of judging images that are almost the same picture as one for the fit; "" where there is none."""
    if not (found := near_copies(division.fit, division.judging)):
        return ""
    return (
        f"WARNING: {len(found)} of {len(division.judging.names)} judging images are almost the same picture as one for "
        f"the fit, such as {found[0].calibrating!r} and {found[0].fitting!r}. If they show the same parts, all methods "
        "look better than they are: name the parts with --group-by"
    )
