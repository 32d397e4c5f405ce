"""The verdict on a detector, from counts of parts: its state, and the one thing to do next. Nothing else judges.

The rules and a simulation of them are in docs/verdicts.md.
"""

import enum
import itertools
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from gnl_jax.detection.advice import GRAVITY, State, Verdict, advise
from gnl_jax.detection.evidence import LEVEL, Claim, at_most, holm, lost_at_most, not_lower, parts_to_pass, parts_with
from gnl_jax.detection.limits import ACCEPTABLE, MARGIN, Counts, Limits
from gnl_jax.detection.threshold import Rule, drift_alarm


class Judgement(NamedTuple):
    """The state of one condition.

    Attributes:
        state: of both sides together.
        alarms: of the false alarms alone: *within limits*, *not enough evidence*, *too many false alarms*, *drifted*.
        defects: of the defects alone: *within limits*, *not enough evidence* or *missing defects*.
        good_enough, bad_enough: parts that would decide where there is not enough evidence; None: unknown.
    """

    state: State
    alarms: State
    defects: State
    good_enough: int | None = None
    bad_enough: int | None = None


_SIDES = (("score", "drift"), ("caught", "lost"))


def judge(conditions: Sequence[Counts], limits: Limits) -> list[Judgement]:
    """The state of each condition.

    *Within limits* takes every claim of the condition at 95 %; that all conditions are within limits then needs no
    correction (intersection-union). A bad condition is named at 95 % for all of them together (Holm).
    """
    claims = [_claims(counts, limits) for counts in conditions]
    named = iter(holm([claim.above for mine in claims for claim in mine.values()]))
    found = []
    for counts, mine in zip(conditions, claims):
        bad = {name for name in mine if next(named)}
        drifted = State.DRIFTED if counts.drift_seen or "drift" in bad else State.ALARMS
        alarms, defects = (
            name if bad.intersection(side) else _undecided(mine, side)
            for side, name in zip(_SIDES, (drifted, State.MISSING))
        )
        enough = (_enough(mine, side) for side in _SIDES)
        found.append(Judgement(worst([alarms, defects]), alarms, defects, *enough))
    return found


def _undecided(claims: Mapping[str, Claim], side: Sequence[str]) -> State:
    return State.WITHIN if all(claims[name].shown for name in side if name in claims) else State.UNKNOWN


def _claims(counts: Counts, limits: Limits) -> dict[str, Claim]:
    claims = {
        "score": at_most(counts.by_score, counts.good, limits.acceptable),
        "drift": at_most(counts.by_drift, counts.good, limits.acceptable),
        "caught": at_most(counts.bad - counts.caught, counts.bad, 1 - limits.least_caught),
    }
    if counts.lost is not None:
        claims["lost"] = lost_at_most(counts.lost, counts.gained, counts.bad, limits.margin)
    elif counts.bad_before:
        shown = (counts.caught, counts.bad, counts.caught_before, counts.bad_before)
        claims["lost"] = not_lower(*shown, limits.margin)
    return claims


def _enough(claims: Mapping[str, Claim], names: Sequence[str]) -> int | None:
    """Parts that decide all of these claims which are not shown yet."""
    missing = [claims[name].enough for name in names if name in claims and not claims[name].shown]
    return max((n for n in missing if n), default=None)


def worst(states: Sequence[State]) -> State:
    """The state of several conditions: *within limits* only if each is."""
    return min(states, key=GRAVITY.index)


def parts_for_verdict(limits: Limits) -> tuple[int, int]:
    """Good and defective parts of a condition that can pass with one false alarm, and with one lost defect."""
    good, defective = parts_with(1, limits.acceptable), parts_with(1, limits.margin)
    if good is None or defective is None:
        raise ValueError(f"limits: got {limits}, expected rates that 10,000 parts can show")
    return good, defective


class Batch(NamedTuple):
    """Counts of a batch without labels, by part.

    Attributes:
        parts: all of them.
        by_score, by_drift: flagged by score, and by drift alone.
        drifted, expected: those that look drifted, and how many would by chance.
        alarm: whether that is an alarm.
        fewest: parts in which an alarm is possible; 0: drift is not measured.
    """

    parts: int
    by_score: int
    by_drift: int
    drifted: int = 0
    expected: float = 0.0
    alarm: bool = False
    fewest: int = 0


def next_check(target: Fraction, detector: str) -> list[str]:
    """What is known after fitting, and how it is checked, in lines: no part that is new to the detector was shown."""
    good, bad = (parts_to_pass(float(target), ACCEPTABLE * float(target)), parts_with(1, MARGIN))
    verdict = advise(State.UNKNOWN, "no unseen parts were shown", names={"detector": detector}, enough=(good, bad))
    parts = f"about {good} unseen good and {bad} defective parts decide whether it is within limits"
    return [f"{verdict.state.upper()}: {verdict.found}; {parts}", "Next:", f"  {verdict.command}"]


def fewest_for_drift(rule: Rule) -> int:
    """The fewest parts in which a drift alarm is possible: all of them look drifted."""
    return next(m for m in itertools.count(1) if drift_alarm(m, m, rule))


def judge_batch(batch: Batch, *, names: Mapping[str, str]) -> Verdict:
    """What can be said of parts without labels: drift and the share flagged. Never whether rates are within limits.

    *Drifted* says that the false-alarm rate is unknown, not that it is too high: `shift` and `recalibrate`, which know
    good parts, may find the detector within limits, and `recalibrate` then keeps it.
    """
    counted = f"{batch.by_score} by score, {batch.by_drift} by drift alone"
    flagged = f"{batch.by_score + batch.by_drift} of {batch.parts} parts flagged ({counted})"
    if batch.alarm:
        drift = f"{batch.drifted} of {batch.parts} parts show drift; about {batch.expected:.1f} would by chance"
        unknown = "The false-alarm rate under this drift is unknown."
        return advise(State.DRIFTED, f"DRIFT: {drift}. {flagged}. {unknown}", names=names)
    if not batch.fewest or batch.parts < batch.fewest:
        why = f"Drift shows in {batch.fewest} parts or more." if batch.fewest else "Drift is not measured."
        verdict = advise(State.NO_DRIFT, f"{flagged}. {why}", names=names)
        return verdict._replace(state=State.UNKNOWN)
    verdict = advise(State.NO_DRIFT, f"No drift seen. {flagged}.", names=names)
    return verdict if batch.by_score + batch.by_drift else verdict._replace(action="Nothing to do.", command="")


class Choice(enum.StrEnum):
    """What to do after a recalibration."""

    KEEP = "keep the old detector"
    REPLACE = "replace the old detector"
    REFIT = "refit: the new detector probably misses too many defects"


def probably_blind(new: Counts, *, above_clean: bool, limits: Limits) -> bool:
    """Whether a recalibrated detector misses defects.

    Defective parts decide if they are enough: it catches too few, or loses too many that the old one catches. Else a
    threshold above what all good parts scored that first calibrated is taken as a sign.

    Args:
        new: defective parts with the new detector; `lost` and `gained` compare it with the old one.
        above_clean: whether the threshold is above the scores of the first calibration.
        limits: of defects.
    """
    if not new.bad:
        return above_clean
    caught = at_most(new.bad - new.caught, new.bad, 1 - limits.least_caught)
    lost = lost_at_most(new.lost or 0, new.gained or 0, new.bad, limits.margin)
    if any(holm([caught.above, lost.above])):
        return True
    return above_clean and not (caught.shown and lost.shown)


def choose(old: Counts, *, blind: bool, limits: Limits) -> Choice:
    """Which detector to use under a new condition.

    Args:
        old: parts of the new condition as the old detector decides. The good ones calibrated the new detector, so only
            the old one can be judged by them.
        blind: `probably_blind` of the new one.
        limits: of the old one's false alarms and of defects.
    """
    claims = _claims(old, limits)
    if claims["score"].shown and claims["drift"].shown and claims["caught"].above > 1 - LEVEL:
        return Choice.KEEP
    return Choice.REFIT if blind else Choice.REPLACE
