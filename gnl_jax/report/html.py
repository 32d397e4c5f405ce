r"""The shift report as one HTML page that needs nothing else: no network, no other file.

Every text in a report is hostile, file names above all: the template escapes it, and what cannot be shown (lone
surrogates, control characters, marks that turn the reading direction) stands there as an escape, `\x1b`.
"""

import base64
import functools
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jinja2

from gnl_jax.detection.advice import State
from gnl_jax.files import write_atomic
from gnl_jax.report.drawing import histogram, number
from gnl_jax.report.schema import check_report, shown

TEMPLATE = "report.html.jinja"
# Of an alarm rate, in acceptable rates, and of the share of missed defects: where the heat map's next shade begins.
_ALARM_STEPS, _MISSED_STEPS = (0.5, 1, 2, 5), (0.05, 0.2, 0.5, 0.8)


def report_page(report: Mapping[str, Any]) -> str:
    """The page for a report of schema 2 (`report/schema.py`), a dict as JSON holds it; always encodable as UTF-8.

    Counts are of parts, rates fractions in [0, 1], images data URIs. Raises ValueError naming the field that is
    missing, of another type, not finite or inconsistent.
    """
    check_report(report)
    report = shown(report)
    conditions = [_condition(c, i, report["thresholds"], report["limits"]) for i, c in enumerate(report["conditions"])]
    return template(TEMPLATE).render(
        report,
        conditions=conditions,
        families=_families(conditions),
        severities=sorted({c["severity"] for c in conditions if c["severity"] is not None}),
        matchings=_unique(name for c in conditions for name in c["matchings"]),
    )


def write_page(path: str | os.PathLike, report: Mapping[str, Any]) -> None:
    """Writes `report_page` to a file, atomically. Raises ValueError (`report_page`) or OSError naming the file."""
    write_atomic(path, report_page(report))


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _condition(
    condition: dict[str, Any], place: int, thresholds: Mapping[str, Any], limits: Mapping[str, float]
) -> dict[str, Any]:
    """A condition with what the page derives from it: its place, its histogram's drawing and its two cells."""
    alarms, missed = None, None
    if condition["n"]:
        share = condition["stopped"] / condition["n"]
        alarms = _cell(share, _shade(share / limits["acceptable"], _ALARM_STEPS), condition["alarms"])
    if condition["bad"]:
        share = condition["caught"] / condition["bad"]
        missed = _cell(share, _shade(1 - share, _MISSED_STEPS), condition["detection"])
    drawing = histogram(condition["histogram"], thresholds)
    return condition | {"place": place, "drawing": drawing, "cells": {"alarms": alarms, "defects": missed}}


def _cell(share: float, shade: int, state: str) -> dict[str, Any]:
    """A cell of the heat map: the share in percent, shade 0 to 4, whether it is uncertain or bad."""
    text = f"{100 * share:.0f}"
    return {
        "text": text,
        "shade": shade,
        "unsure": state == State.UNKNOWN,
        "bad": state not in (State.UNKNOWN, State.WITHIN),
        "state": state,
    }


def _shade(value: float, steps: Sequence[float]) -> int:
    return sum(value > step for step in steps)


def _families(conditions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The conditions by family, in order of appearance; what has no family is one of its own."""
    families: dict[tuple, dict[str, Any]] = {}
    for c in conditions:
        name = c["what"] if c["family"] is None else c["family"]
        family = {"name": name, "label": c["label"], "kind": c["kind"], "conditions": []}
        families.setdefault((c["kind"], c["family"] is None, c["family"] or c["name"]), family)["conditions"].append(c)
    for family in families.values():
        family["conditions"].sort(key=lambda c: c["severity"] or 0)
    return list(families.values())


def _percent(share: float) -> str:
    """Two digits below 1 %, three above: "0.42 %", "5 %", "23.1 %"."""
    return f"{100 * share:.{2 if share < 0.01 else 3}g}\u00a0%"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _digest(script: str) -> str:
    """A script as the page's content security policy names it, so that no other one runs."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@functools.cache
def template(name: str) -> jinja2.Template:
    """A page's template, which escapes all that is put into it."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__name__.rpartition(".")[0], "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "number": number, "digest": _digest, "capitalize_first": _capital}
    return environment.get_template(name)
