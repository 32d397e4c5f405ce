"""A choice of method in words: the recommendation, how sure it is, and the rule."""

from collections.abc import Mapping

from gnl_jax.evaluation.choice import BEARABLE, Choice

SURE, LIKELY = 0.95, 0.7  # shares of the redraws from which a recommendation is called clear, and likely


def recommendation(choice: Choice, seconds: Mapping[str, float], *, defects: str) -> dict[str, str]:
    """The method, its headline, the state of the evidence and one or two sentences.

    Args:
        choice: what the rule says.
        seconds: that fitting each method took.
        defects: what was detected, such as "simulated defects".
    """
    if not choice.best:
        state, head = "none", "No recommendation"
        sentences = [choice.reason[:1].upper() + choice.reason[1:]]
    else:
        share = choice.wins[choice.best] / choice.redraws
        state = "clear" if share >= SURE else "likely" if share >= LIKELY else "close"
        head = f"Use {choice.best}" if state != "close" else f"Try {choice.best} first"
        sentences = [_certainty(choice, state), _detections(choice, defects)]
        if tied := [name for name in choice.near if name != choice.best]:
            sentences.append(
                f"{_listed(tied)} {'is' if len(tied) == 1 else 'are'} within one defective part of the best value; "
                f"{choice.best} {_why(choice, seconds, tied)}{'' if len(tied) == 1 else ' or more'}."
            )
    return {
        "method": choice.best,
        "state": state,
        "head": head,
        "certainty": sentences[0],
        "details": " ".join(sentences[1:]),
        "text": f"{head}. {' '.join(sentences)}" if choice.best else f"{head}: {choice.reason}",
    }


def rules(choice: Choice, *, defects: str) -> list[str]:
    """The rule, one sentence each."""
    return [
        f"The threshold of each method is set on the {choice.good} good parts that judge: {choice.allowed} of them may "
        "be flagged. No calibration image takes part.",
        f"The value is half the share of {defects} detected unshifted, plus half the mean of that share over the "
        "shifts.",
        f"A shift under which more than {BEARABLE * choice.allowed} of the good parts are flagged counts 0.",
        f"Methods within one defective part (1 of {choice.bad}) of the highest value are near ties: the one with the "
        "fewest false alarms over all shifts is chosen, of equal ones the fastest fit.",
        f"The parts are redrawn {choice.redraws:,} times with replacement, the same for all methods, and the rule is "
        "applied to each draw.",
    ]


def _why(choice: Choice, seconds: Mapping[str, float], tied: list[str]) -> str:
    """What decides between near ties."""
    own, least = (min(sum(choice.counts[name].alarms[1:]) for name in names) for names in ([choice.best], tied))
    if own < least:
        return f"raises fewer false alarms under the shifts, {own} in all and not {least}"
    others = [seconds[name] for name in tied if sum(choice.counts[name].alarms[1:]) == own]
    return f"was fitted fastest, in {_time(seconds[choice.best])} and not in {_time(min(others))}"


def _certainty(choice: Choice, state: str) -> str:
    wins = f"{choice.best} is the best in {choice.wins[choice.best]:,} of {choice.redraws:,} redraws of your parts"
    others = sorted((n, name) for name, n in choice.wins.items() if n and name != choice.best)
    if state == "clear" or not others:
        return f"{wins}: the choice is clear."
    n, name = others[-1]
    word = "likely, not certain" if state == "likely" else "close"
    return f"{wins}, {name} in {n:,}: the choice is {word}."


def _detections(choice: Choice, defects: str) -> str:
    counts = choice.counts[choice.best]
    said = (
        f"It detects {counts.caught[0]} of {choice.bad} {defects} with {counts.alarms[0]} of {choice.good} good parts "
        "flagged"
    )
    if len(counts.caught) == 1:
        return f"{said}."
    bearable = [n for n, alarms in zip(counts.caught[1:], counts.alarms[1:]) if alarms <= BEARABLE * choice.allowed]
    shifts = len(counts.caught) - 1
    if not bearable:
        return f"{said}; under {'every shift' if shifts > 1 else 'the shift'} it raises too many false alarms."
    low, high = min(bearable), max(bearable)
    between = f"{low}" if low == high else f"{low} to {high}"
    under = f"{len(bearable)} of {shifts} shift{'s' if shifts > 1 else ''}"
    return f"{said}, and {between} under {under} without too many false alarms."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
