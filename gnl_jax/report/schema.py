"""The shift report as JSON holds it: fields, their types, and what makes a report inconsistent."""

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gnl_jax.detection.advice import State

SCHEMA = 2
_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


class Maybe(NamedTuple):
    """In a schema: this, or None."""

    inner: Any


IMAGE = "data:image/"
STATES = tuple(state.value for state in State if state != State.NO_DRIFT)
_COUNTS = {"stopped": int, "rejected": int}
_RULE = Maybe({"rate": float, "text": str})
_PICTURE = {"image": IMAGE, "name": str, "score": float, "decision": str}
_WORST = {"now": [int], "worst": [int], "where": str}
_CONDITION = {
    "kind": ("clean", "simulated", "own"),
    **dict.fromkeys(("state", "alarms", "detection"), STATES),
    **dict.fromkeys(("n", "by_score", "by_drift", "bad", "caught"), int),
    **dict.fromkeys(("lost", "gained", "good_enough", "bad_enough"), Maybe(int)),
    "alarms_bound": float,
    "drift": Maybe({"median": float, "alarm": bool}),
    "matchings": {str: _COUNTS},
    "baseline": Maybe(_COUNTS),
    "defects": [{"name": str, "n": int, **_COUNTS}],
    "histogram": {"edges": [float], "good": [int], "bad": [int]},
    "thumbnail": IMAGE,
    "false_alarms": [_PICTURE],
    "missed": [_PICTURE],
    **dict.fromkeys(("name", "what", "label", "seen_note", "sentence"), str),
    **dict.fromkeys(("severity", "auroc"), Maybe(float)),
} | {"family": Maybe(str), "seen": Maybe(bool), **_COUNTS}
REPORT = {
    "schema": (SCHEMA,),
    "title": str,
    "verdict": {"state": STATES, "found": str, "action": str, "command": str},
    "numbers": {"false_alarms": _WORST, "defects": Maybe(_WORST), "within": [int]},
    "limits": dict.fromkeys(("target", "acceptable", "margin", "least_caught"), float),
    "artifact": {"file": str, "sha256": str, "method": str, "matching": str, "teacher": str, "size": int},
    "rules": {"ng": _RULE, "review": _RULE, "drift": _RULE},
    "thresholds": {"ng": Maybe(float), "review": float},
    "conditions": [_CONDITION],
    "provenance": {},
}


def check_report(report: Any) -> None:
    """Raises ValueError naming the field that is missing, of another type, not finite or inconsistent."""
    _check(report, REPORT, "report")
    for i, condition in enumerate(report["conditions"]):
        where = f"report.conditions[{i}]"
        limits = {"stopped": "n", "rejected": "stopped", "caught": "bad", "lost": "bad", "gained": "bad"}
        for name, most in limits.items():
            _expect((condition[name] or 0) <= condition[most], f"{where}.{name}", condition[name], f"at most {most}")
        both = condition["by_score"] + condition["by_drift"]
        _expect(both == condition["stopped"], f"{where}.stopped", condition["stopped"], f"by score and drift: {both}")
        for j, defect in enumerate(condition["defects"]):
            for name in _COUNTS:
                _expect(defect[name] <= defect["n"], f"{where}.defects[{j}].{name}", defect[name], "at most n")
        _expect(0 <= condition["alarms_bound"] <= 1, f"{where}.alarms_bound", condition["alarms_bound"], "0 to 1")
        edges, good, bad = (condition["histogram"][name] for name in ("edges", "good", "bad"))
        lengths = [len(edges), len(good) + 1, len(bad) + 1]
        right = len(set(lengths)) == 1 and lengths[0] > 1
        _expect(right, f"{where}.histogram", lengths, "one edge more than bins")
        ascending = all(a < b for a, b in itertools.pairwise(edges))
        _expect(ascending, f"{where}.histogram.edges", edges, "ascending edges")
    for name, pair in _pairs(report["numbers"]):
        _expect(len(pair) == 2 and pair[0] <= pair[1], f"report.numbers.{name}", pair, "a count and of how many")


def _pairs(numbers: Mapping[str, Any]) -> list[tuple[str, Sequence[int]]]:
    shown = [(name, numbers[name]) for name in ("false_alarms", "defects") if numbers[name]]
    return [("within", numbers["within"])] + [(f"{n}.{key}", c[key]) for n, c in shown for key in ("now", "worst")]


def _check(value: Any, schema: Any, where: str) -> None:
    """Raises ValueError naming the place where a value is not what its schema says; fields beyond it are allowed.

    A schema is a type, `Maybe`, a tuple of values, the beginning of a text, a list of one schema, or a dict of them,
    whose key `str` is any.
    """
    if isinstance(schema, Maybe):
        if value is not None:
            _check(value, schema.inner, where)
    elif isinstance(schema, Mapping):
        _expect(isinstance(value, Mapping), where, value, "an object")
        for key, inner in schema.items():
            _expect(key is str or key in value, where, sorted(map(str, value)), f"a field {key!r}")
            for name in value if key is str else [key]:
                _check(value[name], inner, f"{where}.{show(str(name))}")
    elif isinstance(schema, list):
        _expect(isinstance(value, Sequence) and not isinstance(value, str), where, value, "a list")
        for i, item in enumerate(value):
            _check(item, schema[0], f"{where}[{i}]")
    elif isinstance(schema, tuple):
        _expect(value in schema, where, value, f"one of {', '.join(map(repr, schema))}")
    elif isinstance(schema, str):
        _expect(isinstance(value, str) and value.startswith(schema), where, value, f"{schema}...")
    elif schema is float:
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        _expect(number, where, value, "a finite number")
    elif schema is int:
        _expect(isinstance(value, int) and not isinstance(value, bool), where, value, "a whole number")
        _expect(value >= 0, where, value, "at least 0")
    else:
        _expect(isinstance(value, schema), where, value, schema.__name__)


def _expect(right: bool, where: str, got: Any, expected: str) -> None:
    if not right:
        text = ascii(got)
        raise ValueError(f"{where}: got {text if len(text) < 100 else text[:97] + '...'}, expected {expected}")


def show(text: str) -> str:
    """A text with escapes for what cannot be shown."""
    return _UNSHOWN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shown(value: Any) -> Any:
    """The same value with every text, keys too, made fit to be shown."""
    if isinstance(value, str):
        return show(value)
    if isinstance(value, Mapping):
        return {show(str(key)): shown(item) for key, item in value.items()}
    return [shown(item) for item in value] if isinstance(value, list | tuple) else value
