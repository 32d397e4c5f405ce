"""The comparison of methods as data, as a table of text, and as one HTML page that needs nothing else."""

import datetime
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from gnl_jax.detection.threshold import percent
from gnl_jax.evaluation.choice import BEARABLE, Choice, Counts, choose
from gnl_jax.evaluation.metrics import auroc
from gnl_jax.report.compare_words import recommendation, rules
from gnl_jax.report.compared_parts import SEVERITY, Shown, drawn_from, part_scores
from gnl_jax.report.conditions import in_words
from gnl_jax.report.html import template
from gnl_jax.report.schema import shown as made_harmless

TEMPLATE = "compare.html.jinja"
SHADES = (0.2, 0.4, 0.6, 0.8)  # of the share detected: where the heat map's next shade begins


def comparison(
    rows: Mapping[str, Mapping[str, Any]],
    shown: Shown,
    *,
    rate: Fraction,
    left_out: Sequence[str],
    failed: Mapping[str, str],
    folders: Mapping[str, str],
    counts: Mapping[str, int],
    commands: Mapping[str, Any],
) -> dict[str, Any]:
    """The comparison as JSON-able data.

    Args:
        rows: of each method its fit and its scores (`compared_parts.judge`).
        shown: what they were scored on.
        rate: of false alarms that was requested.
        left_out: methods for which no time was left.
        failed: methods that could not be fitted, and why.
        folders: of good and bad images, as the user named them; "" for simulated defects.
        counts: of images and parts for the fits.
        commands: "fit" of each method on all images, and "rest", which adds what was left out; "" for none.
    """
    scores = {name: part_scores(shown, row) for name, row in rows.items()}
    seconds = {name: float(row["seconds"]) for name, row in rows.items()}
    choice = choose(scores, seconds, rate=rate, bad_from=drawn_from(shown), seed=shown.seed)
    defects = "simulated defects" if shown.simulated else "defective parts"
    kinds = {kind: shown.bad.defects.count(kind) for kind in sorted(set(shown.bad.defects))}
    return {
        "schema": 1,
        "title": f"Comparison of {len(rows)} method{'s' if len(rows) > 1 else ''}",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "recommendation": recommendation(choice, seconds, defects=defects),
        "rule": rules(choice, defects=defects),
        "notes": _notes(choice, shown, rate, left_out, failed),
        "measured": {
            **{f"folder of {name} images": folder for name, folder in folders.items() if folder},
            **counts,
            "good parts that judge": choice.good,
            "good images that judge": len(shown.good.names),
            defects: choice.bad,
            "kinds of defect": kinds,
            "shifts": [in_words(family, SEVERITY) for family in shown.families],
        },
        "simulated": shown.simulated,
        "defects": defects,
        "rate": {"requested": float(rate), "allowed": choice.allowed, "of": choice.good},
        "methods": [_method(name, row, choice, shown) for name, row in rows.items()],
        "conditions": _conditions(choice, shown),
        "left_out": list(left_out),
        "failed": dict(failed),
        "rest": commands["rest"],
        "next": commands["fit"][choice.best] if choice.best else "",
        "fits": dict(commands["fit"]),
    }


def compare_page(found: Mapping[str, Any]) -> str:
    """The page of a comparison."""
    return template(TEMPLATE).render(made_harmless(found))


def table(found: Mapping[str, Any]) -> str:
    """The methods in columns of text."""
    head = ("method", "detected", "false alarms", "AUROC", "worst shift", "chosen", "fit s", "ms", "MB", "memory")
    lines = [head]
    for m in found["methods"]:
        lines.append((
            m["method"], f"{m['caught']} of {m['bad']}", f"{m['alarms']} of {m['good']}", f"{100 * m['auroc']:.1f} %",
            _worst(m["worst"]), f"{m['wins']} of {m['redraws']}", f"{m['seconds']:.1f}", f"{m['milliseconds']:.1f}",
            f"{m['bytes'] / 1e6:.1f}", m["memory"] or "-",
        ))  # fmt: skip
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def _worst(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return "-"
    alarms = f"{cell['alarms']} of {cell['good']} false alarms"
    return f"{cell['what']}: {alarms if cell['too_many'] else '{caught} of {bad}'.format(**cell)}"


def _method(name: str, row: Mapping[str, Any], choice: Choice, shown: Shown) -> dict[str, Any]:
    counts = choice.counts[name]
    good, bad = np.asarray(row["good"][0]), np.asarray(row["bad"][0])
    cells = [
        _cell(counts, i, choice) | {"what": in_words(family, SEVERITY)}
        for i, family in enumerate(shown.families, start=1)
    ]
    return {
        "method": name,
        "chosen": name == choice.best,
        "near": name in choice.near,
        "value": counts.value,
        "threshold": counts.threshold,
        "caught": counts.caught[0],
        "bad": choice.bad,
        "alarms": counts.alarms[0],
        "good": choice.good,
        "auroc": auroc(np.concatenate([good, bad]), np.arange(len(good) + len(bad)) >= len(good)),
        "worst": min(cells, key=_goodness, default=None),
        "wins": choice.wins[name],
        "redraws": choice.redraws,
        "seconds": float(row["seconds"]),
        "milliseconds": float(row["milliseconds"]),
        "bytes": int(row["bytes"]),
        "memory": row["memory"],
        "learned_from": int(row["learned from"]),
        "calibrated_with": int(row["calibrated with"]),
    }


def _goodness(cell: Mapping[str, Any]) -> tuple[bool, int]:
    """Orders shifts from the worst one: the most of too many false alarms, then the fewest detections."""
    return not cell["too_many"], -cell["alarms"] if cell["too_many"] else cell["caught"]


def _conditions(choice: Choice, shown: Shown) -> list[dict[str, Any]]:
    """The heat map's rows: unshifted, then each shift, with a cell for each method."""
    names = ["unshifted", *(in_words(family, SEVERITY) for family in shown.families)]
    return [
        {
            "family": None if i == 0 else shown.families[i - 1],
            "what": what,
            "cells": {name: _cell(counts, i, choice) for name, counts in choice.counts.items()},
        }
        for i, what in enumerate(names)
    ]


def _cell(counts: Counts, place: int, choice: Choice) -> dict[str, Any]:
    caught, alarms = counts.caught[place], counts.alarms[place]
    return {
        "caught": caught,
        "bad": choice.bad,
        "alarms": alarms,
        "good": choice.good,
        "shade": sum(caught / choice.bad > step for step in SHADES),
        "too_many": alarms > BEARABLE * choice.allowed,
    }


def _notes(
    choice: Choice, shown: Shown, rate: Fraction, left_out: Sequence[str], failed: Mapping[str, str]
) -> list[str]:
    """What a reader must know of the numbers, one sentence each."""
    notes = []
    if shown.simulated:
        notes.append(
            "The defects are simulated: they are drawn into held-out good images. Real defects may rank the methods "
            "differently; --bad FOLDER compares them on yours."
        )
    share = Fraction(choice.allowed, choice.good)
    if share > rate:
        notes.append(
            f"Detections are compared at {choice.allowed} of {choice.good} good parts flagged ({percent(share)}): "
            f"{choice.good} parts do not support {percent(rate)}."
        )
    if left_out:
        notes.append(f"Left out, because the time was over: {', '.join(left_out)}.")
    return [*notes, *(f"Not fitted: {name}: {why}" for name, why in failed.items())]
