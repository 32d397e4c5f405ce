"""The states of a verdict, and the one next action of each with its command."""

import enum
import shlex
from collections.abc import Mapping
from typing import NamedTuple


class State(enum.StrEnum):
    """What a verdict says; the value is how it is printed."""

    WITHIN = "within limits"
    UNKNOWN = "not enough evidence"
    ALARMS = "too many false alarms"
    MISSING = "missing defects"
    DRIFTED = "drifted: recalibrate"
    NO_DRIFT = "no drift seen"  # of a batch without labels, of which nothing else is known


# Of several states of one condition, or of several conditions, the first one is named.
GRAVITY = (State.MISSING, State.ALARMS, State.DRIFTED, State.UNKNOWN, State.WITHIN)
_DO = {
    State.WITHIN: "Use it. The score command reports drift.",
    State.UNKNOWN: "Show more parts.",
    State.ALARMS: "Fit again with good parts like the flagged ones among the images.",
    State.MISSING: "Fit again at a larger image size, so that small defects show.",
    State.DRIFTED: "Recalibrate with verified good parts of this condition.",
    State.NO_DRIFT: "Check the flagged parts.",
}


class Verdict(NamedTuple):
    """State, what was found in one sentence, what to do next, and the command for it."""

    state: State
    found: str
    action: str
    command: str


def advise(
    state: State,
    found: str,
    *,
    names: Mapping[str, str],
    enough: tuple[int | None, int | None] = (None, None),
    simulated: bool = False,
) -> Verdict:
    """The verdict with its next action.

    Args:
        state: the state.
        found: the sentence.
        names: of files for the command: `detector`, `good`, `bad`, `size`; a placeholder stands for one left out.
        enough: good and defective parts that would decide, for *not enough evidence*.
        simulated: whether these are parts of a simulated shift, of which `shift` draws as many as it is told.
    """
    action = _DO[state]
    if state == State.UNKNOWN and any(enough):
        wanted = " and ".join(f"{n} {what}" for n, what in zip(enough, ("good", "defective")) if n)
        action = f"Show {wanted} parts; that decides if the shares stay as they are."
    return Verdict(state, found, action, _command(state, names, enough if simulated else (None, None)))


def _command(state: State, names: Mapping[str, str], enough: tuple[int | None, int | None]) -> str:
    detector, good, bad = (
        shlex.quote(names[key]) if names.get(key) else key.upper() for key in ("detector", "good", "bad")
    )
    new, size = "NEW.gnl", int(names.get("size") or 256)
    limits = "".join(f" {flag} {n}" for flag, n in zip(("--limit", "--limit-bad"), enough) if n)
    return {
        State.WITHIN: f"gnl-jax score {detector} IMAGES --fail-on review",
        State.UNKNOWN: f"gnl-jax shift {detector} --good {good} --bad {bad}{limits}",
        State.ALARMS: f"gnl-jax fit GOOD --size {size} --out {new}",
        State.MISSING: f"gnl-jax fit GOOD --size {2 * size} --out {new}",
        State.DRIFTED: f"gnl-jax recalibrate {detector} --good VERIFIED_GOOD --condition WHAT_CHANGED --out {new}",
        State.NO_DRIFT: f"gnl-jax score {detector} IMAGES --overlays FLAGGED",
    }[state]
