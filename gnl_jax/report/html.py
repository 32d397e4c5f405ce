"""The shift report as one HTML page that needs nothing else: no network, no other file.

Every text in a report is hostile, file names above all: the template escapes it, and what cannot be shown (lone
surrogates, control characters, marks that turn the reading direction) stands there as an escape, `\\x1b`.
"""

import base64
import functools
import hashlib
import itertools
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jinja2

from gnl_jax.files import write_atomic
from gnl_jax.report.conditions import outcome

SCHEMA = 1
TEMPLATE = "report.html.jinja"
_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


class Maybe(NamedTuple):
    """In a schema: this, or None."""

    inner: Any


IMAGE = "data:image/"
_COUNTS = {"stopped": int, "rejected": int}
_RULE = Maybe({"rate": float, "text": str})
_PICTURE = {"image": IMAGE, "overlay": IMAGE, "name": str, "condition": str, "score": float, "decision": str}
_CONDITION = {
    "kind": ("clean", "simulated", "own"),
    "n": int,
    "promised": float,
    "drift": Maybe({"median": float, "alarms": int, "alarm": bool}),
    "matchings": {str: _COUNTS},
    "baseline": Maybe(_COUNTS),
    "defects": [{"name": str, "n": int, **_COUNTS}],
    "guarantee": bool,
    "stopped_interval": [float],
    "rejected_interval": [float],
    "histogram": {"edges": [float], "good": [int], "bad": [int]},
    "thumbnail": IMAGE,
    **dict.fromkeys(("name", "seen_note", "sentence"), str),
    **dict.fromkeys(("severity", "auroc"), Maybe(float)),
} | {"family": Maybe(str), "seen": Maybe(bool), **_COUNTS}
_REPORT = {
    "schema": (SCHEMA,),
    "title": str,
    "summary": [str],
    "artifact": {"file": str, "sha256": str, "method": str, "matching": str, "teacher": str, "size": int},
    "rules": {"ng": _RULE, "review": _RULE, "drift": _RULE},
    "thresholds": {"ng": Maybe(float), "review": float},
    "conditions": [_CONDITION],
    "galleries": {"false_alarms": [_PICTURE], "missed": [_PICTURE]},
    "provenance": {},
}


def report_page(report: Mapping[str, Any]) -> str:
    """The page for a report of schema 1, a dict as JSON holds it; always encodable as UTF-8.

    Counts are of images, rates and intervals fractions in [0, 1], images data URIs. Raises ValueError naming the field
    that is missing, of another type, not finite or inconsistent.
    """
    _check(report, _REPORT, "report")
    report = _shown(report)
    conditions = [
        _condition(c, report["thresholds"], where=f"report.conditions[{i}]") for i, c in enumerate(report["conditions"])
    ]
    highest = max((c["stopped_interval"][1] for c in conditions), default=1.0)
    return _template().render(
        report,
        conditions=conditions,
        families=_families(conditions),
        severities=sorted({c["severity"] for c in conditions if c["severity"] is not None}),
        matchings=_unique(name for c in conditions for name in c["matchings"]),
        defects=_unique(defect["name"] for c in conditions for defect in c["defects"]),
        scale=next(top for top in (0.05, 0.1, 0.2, 0.25, 0.5, 1.0) if highest <= top),
    )


def write_page(path: str | os.PathLike, report: Mapping[str, Any]) -> None:
    """Writes `report_page` to a file, atomically. Raises ValueError (`report_page`) or OSError naming the file."""
    write_atomic(path, report_page(report))


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
                _check(value[name], inner, f"{where}.{_show(str(name))}")
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


def _show(text: str) -> str:
    return _UNSHOWN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _shown(value: Any) -> Any:
    """The same value with every text, keys too, made fit to be shown."""
    if isinstance(value, str):
        return _show(value)
    if isinstance(value, Mapping):
        return {_show(str(key)): _shown(item) for key, item in value.items()}
    return [_shown(item) for item in value] if isinstance(value, list | tuple) else value


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _condition(condition: dict[str, Any], thresholds: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """A condition with what the page derives from it: `outcome`, `found` (of all its defects) and `drawing`."""
    groups = [("", condition)] + [(f".defects[{i}]", defect) for i, defect in enumerate(condition["defects"])]
    for place, group in groups:
        for count in _COUNTS:
            _expect(group[count] <= group["n"], f"{where}{place}.{count}", group[count], f"at most n = {group['n']}")
    for name in ("stopped_interval", "rejected_interval"):
        low, high = interval if len(interval := condition[name]) == 2 else (1, 0)
        _expect(0 <= low <= high <= 1, f"{where}.{name}", interval, "0 <= low <= high <= 1")
    defects = {key: sum(defect[key] for defect in condition["defects"]) for key in ("n", *_COUNTS)}
    drawing = _histogram(condition["histogram"], thresholds, f"{where}.histogram")
    return condition | {
        "outcome": outcome(**{name: condition[name] for name in ("stopped", "n", "promised")}),
        "found": defects,
        "drawing": drawing,
    }


def _families(conditions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The conditions by family, in order of appearance; what has no family is one of its own."""
    families: dict[tuple, dict[str, Any]] = {}
    for c in conditions:
        name = c["name"] if c["family"] is None else c["family"]
        family = {"name": name, "kind": c["kind"], "conditions": []}
        families.setdefault((c["kind"], c["family"] is None, name), family)["conditions"].append(c)
    for family in families.values():
        family["conditions"].sort(key=lambda c: c["severity"] or 0)
    return list(families.values())


WIDTH, MIDDLE, HEIGHT = 420, 104, 64  # of the histogram: what a phone shows at a legible size


def _histogram(histogram: Mapping[str, Any], thresholds: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Good parts upwards and defects downwards, as densities on one scale: paths, ticks and threshold marks."""
    edges, good, bad = (histogram[name] for name in ("edges", "good", "bad"))
    lengths = [len(edges), len(good) + 1, len(bad) + 1]
    _expect(len(set(lengths)) == 1 and lengths[0] > 1, where, lengths, "one edge more than bins")
    _expect(all(a < b for a, b in itertools.pairwise(edges)), f"{where}.edges", edges, "ascending edges")
    marks = {name: thresholds[name] for name in ("review", "ng") if thresholds[name] is not None}
    low, high = min(edges[0], *marks.values()), max(edges[-1], *marks.values())

    def across(score: float) -> float:
        return round(6 + (WIDTH - 12) * (score - low) / (high - low), 1)

    densities = [_density(counts, edges) for counts in (good, bad)]
    most = max(*densities[0], *densities[1]) or 1.0
    paths = []
    for density, way in zip(densities, (-1, 1)):
        steps = [f"V{MIDDLE + way * HEIGHT * d / most:.1f}H{across(b)}" for d, b in zip(density, edges[1:])]
        paths.append(f"M{across(edges[0])} {MIDDLE}{''.join(steps)}V{MIDDLE}Z")
    return {
        "good": paths[0],
        "bad": paths[1],
        "ticks": [(across(t), _number(t)) for t in _ticks(low, high)],
        "marks": [(name, across(t), _number(t)) for name, t in marks.items()],
    }


def _density(counts: Sequence[int], edges: Sequence[float]) -> list[float]:
    total = sum(counts) or 1
    return [n / total / (b - a) for n, a, b in zip(counts, edges, edges[1:])]


def _ticks(low: float, high: float) -> list[float]:
    """Three to eight round numbers from low to high."""
    power = 10.0 ** math.floor(math.log10(high - low))
    step = next(s for s in (power / 5, power / 2, power, power * 2) if (high - low) / s <= 7)
    return [i * step for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def _percent(share: float) -> str:
    """Two digits below 1 %, three above: "0.42 %", "5 %", "23.1 %"."""
    return f"{100 * share:.{2 if share < 0.01 else 3}g}\u00a0%"


def _digest(script: str) -> str:
    """A script as the page's content security policy names it, so that no other one runs."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__name__.rpartition(".")[0], "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "number": _number, "digest": _digest}
    return environment.get_template(TEMPLATE)
