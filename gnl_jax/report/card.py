"""The head of the shift report: one verdict, its next action, and three large numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

from gnl_jax.detection.advice import State, Verdict, advise
from gnl_jax.detection.verdict import Judgement, worst

BAD = (State.MISSING, State.ALARMS, State.DRIFTED)


def card(rows: Sequence[Mapping[str, Any]], judgements: Sequence[Judgement], *, names: Mapping[str, str]) -> Verdict:
    """The verdict on a detector.

    The parts as photographed (unshifted, and under the user's own changes) decide its state. Simulated shifts say what
    the detector stands; they decide where it is within limits as photographed.

    Args:
        rows: the report's conditions.
        judgements: of each.
        names: of files, for the command.
    """
    pairs = list(zip(rows, judgements))
    now = [pair for pair in pairs if pair[0]["kind"] != "simulated"]
    shifts = [pair for pair in pairs if pair[0]["kind"] == "simulated"]
    state = worst([judgement.state for _, judgement in now])
    if state != State.WITHIN:
        where = [row["name"] for row, judgement in now if judgement.state == state]
        found = f"{_unshifted(where[0])}: {_counted(now, state)}."
        if len(where) > 1:
            found += f" The same holds for {len(where) - 1} more of the photographed conditions."
        return advise(state, found, names=names, enough=_most(now))
    if not shifts:
        return advise(state, "On parts as photographed; no shift was simulated.", names=names)
    within = sum(judgement.state == State.WITHIN for _, judgement in shifts)
    bad = [row["what"] for row, judgement in shifts if judgement.state in BAD]
    counted = f"{within} of {len(shifts)} simulated shifts are within limits too"
    if bad:
        some = ", ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
        return advise(state, f"On parts as photographed. {counted}; avoid {some}.", names=names)
    if within == len(shifts):
        return advise(state, f"On parts as photographed and in all {len(shifts)} simulated shifts.", names=names)
    more = advise(State.UNKNOWN, "", names=names, enough=_most(shifts), simulated=True)
    return more._replace(
        state=state, found=f"On parts as photographed. {counted}; for the others there is not enough evidence."
    )


def _unshifted(name: str) -> str:
    return "Unshifted" if name == "clean" else f"Under {name}"


def _counted(pairs: Sequence[tuple[Mapping[str, Any], Judgement]], state: State) -> str:
    row = next(row for row, judgement in pairs if judgement.state == state)
    alarms = f"{row['by_score']} of {row['n']} good parts flagged by score, {row['by_drift']} by drift alone"
    caught = f"{row['caught']} of {row['bad']} defects caught" if row["bad"] else "no defects shown"
    return f"{caught}; {alarms}" if state == State.MISSING else f"{alarms}; {caught}"


def _most(pairs: Sequence[tuple[Mapping[str, Any], Judgement]]) -> tuple[int | None, int | None]:
    """Parts that decide every condition which is not decided."""
    unknown = [judgement for _, judgement in pairs if judgement.state == State.UNKNOWN]
    good = max((j.good_enough for j in unknown if j.good_enough), default=None)
    bad = max((j.bad_enough for j in unknown if j.bad_enough), default=None)
    return good, bad


def numbers(rows: Sequence[Mapping[str, Any]], judgements: Sequence[Judgement]) -> dict[str, Any]:
    """The three large numbers: false alarms and defects caught, now and at worst, and conditions within limits."""
    clean = rows[0]
    noisiest = max(rows, key=lambda row: row["stopped"] / row["n"] if row["n"] else 0)
    blindest = min((row for row in rows if row["bad"]), key=lambda row: row["caught"] / row["bad"], default=None)
    return {
        "false_alarms": {
            "now": [clean["stopped"], clean["n"]],
            "worst": [noisiest["stopped"], noisiest["n"]],
            "where": noisiest["what"],
        },
        "defects": blindest
        and {
            "now": [clean["caught"], clean["bad"]],
            "worst": [blindest["caught"], blindest["bad"]],
            "where": blindest["what"],
        },
        "within": [sum(judgement.state == State.WITHIN for judgement in judgements), len(judgements)],
    }
