"""A row of the shift report: what a detector says of one condition's images, counted."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from gnl_jax.detection.detector import Detector, predict
from gnl_jax.detection.record import Decision, folder_drift
from gnl_jax.detection.threshold import NG, OK
from gnl_jax.evaluation.conditions import in_words, seen_in_training, sentence
from gnl_jax.evaluation.metrics import auroc
from gnl_jax.evaluation.overlay import overlay, picture
from gnl_jax.evaluation.shift_files import Condition
from gnl_jax.methods.base import Prediction

LEVEL = 0.95  # of the Clopper-Pearson intervals
BINS = 30  # of the histograms
THUMBNAIL, PICTURE = 128, 192  # pixels a side
GALLERY, EACH = 12, 2  # pictures in a gallery; from one condition before the others have had their turn


class Shown(NamedTuple):
    """A condition, its images uint8 [n s s 3], and what was predicted, maps included."""

    condition: Condition
    images: np.ndarray
    prediction: Prediction

    @property
    def good(self) -> np.ndarray:
        """Which images show good parts, bool [n]."""
        return np.array([defect == "" for defect in self.condition.files.defects], bool)


def promised_rate(detector: Detector) -> float:
    """Good parts that may be stopped, by score or by drift."""
    drift = detector.known.drift_rule
    return float(detector.known.rules.review.rate + (drift.rate if drift else 0))


def clopper_pearson(k: int, n: int, *, level: float = LEVEL) -> list[float]:
    """The exact interval of a rate of which k of n were seen (Clopper and Pearson 1934); [0, 1] for n = 0."""
    tail = (1 - level) / 2
    low = float(stats.beta.ppf(tail, k, n - k + 1)) if k > 0 else 0.0
    high = float(stats.beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0
    return [low, high]


def counts(decisions: Sequence[Decision]) -> dict[str, int]:
    """How many parts are stopped (REVIEW or NG), and how many of them rejected (NG)."""
    said = [decision.decision for decision in decisions]
    return {"stopped": sum(s != OK for s in said), "rejected": sum(s == NG for s in said)}


def counts_good(detector: Detector, shown: Shown) -> dict[str, int]:
    """What a detector does with the good parts among the images."""
    return counts(detector.decide(predict(detector, shown.images[shown.good], maps=False)))


def condition_row(
    detector: Detector, shown: Shown, matchings: dict[str, Any], baseline: dict[str, int] | None, *, promised: float
) -> dict[str, Any]:
    """The condition's entry in the report (`evaluation/html.py` has its fields)."""
    condition, good = shown.condition, shown.good
    decisions = detector.decide(shown.prediction)
    mine = counts([d for d, is_good in zip(decisions, good) if is_good])
    n = int(good.sum())
    drift = _drift(detector, shown, decisions)
    clean = condition.kind == "clean"
    seen, note = (None, "")
    if condition.family is not None:
        seen, note = seen_in_training(detector.known.config, condition.family, condition.severity)
    what = in_words(condition.family, condition.severity) if condition.family else condition.name
    example = int(np.flatnonzero(good)[0]) if n else 0
    alarm = bool(drift and drift["alarm"])
    return {
        "name": condition.name,
        "family": condition.family,
        "severity": condition.severity,
        "kind": condition.kind,
        "seen": seen,
        "seen_note": note,
        "sentence": sentence(what, stopped=mine["stopped"], n=n, promised=promised, alarm=alarm, clean=clean),
        "guarantee": clean,
        "n": n,
        **mine,
        "stopped_interval": clopper_pearson(mine["stopped"], n),
        "rejected_interval": clopper_pearson(mine["rejected"], n),
        "promised": promised,
        "drift": drift,
        "matchings": matchings,
        "baseline": baseline,
        "defects": _defects(condition.files.defects, decisions),
        "auroc": auroc(shown.prediction.score, ~good) if 0 < n < len(good) else None,
        "thumbnail": picture(shown.images[example], THUMBNAIL),
        "histogram": _histogram(detector, shown),
    }


def _drift(detector: Detector, shown: Shown, decisions: Sequence[Decision]) -> dict[str, Any] | None:
    if shown.prediction.drift is None or not shown.good.any():
        return None
    values = shown.prediction.drift[shown.good]
    folder = folder_drift(detector.known, values)
    alarms = sum(d.reason == "drift" for d, is_good in zip(decisions, shown.good) if is_good)
    return {"median": float(np.median(values)), "alarms": alarms, "alarm": bool(folder and folder.alarm)}


def _defects(defects: Sequence[str], decisions: Sequence[Decision]) -> list[dict[str, Any]]:
    rows = []
    for kind in sorted(set(defects) - {""}):
        mine = [d for d, defect in zip(decisions, defects) if defect == kind]
        rows.append({"name": kind, "n": len(mine), **counts(mine)})
    return rows


def _histogram(detector: Detector, shown: Shown) -> dict[str, Any]:
    """Scores in equal bins from zero to the 99th percentile; what lies beyond is in the last one."""
    scores = shown.prediction.score
    reach = max(1.25 * detector.known.thresholds[0 if detector.known.rules.ng else 1], float(np.quantile(scores, 0.99)))
    edges = np.linspace(0, reach, BINS + 1)
    held = np.clip(scores, 0, reach)
    of = {
        name: np.histogram(held[rows], edges)[0].tolist() for name, rows in (("good", shown.good), ("bad", ~shown.good))
    }
    return {"edges": edges.tolist(), **of}


def gallery(detector: Detector, shown: Shown) -> dict[str, list[dict[str, Any]]]:
    """The highest-scored good parts that are stopped, and the lowest-scored defective ones that are not."""
    decisions, scores = detector.decide(shown.prediction), shown.prediction.score
    stopped = np.array([d.decision != OK for d in decisions], bool)
    order = np.argsort(scores, kind="stable")
    chosen = {
        "false_alarms": [i for i in order[::-1] if shown.good[i] and stopped[i]],
        "missed": [i for i in order if not shown.good[i] and not stopped[i]],
    }
    _, threshold = detector.known.thresholds
    return {
        kind: [
            {
                "image": picture(shown.images[i], PICTURE),
                "overlay": picture(overlay(shown.images[i], shown.prediction.map[i], threshold), PICTURE),
                "name": shown.condition.files.names[i],
                "condition": shown.condition.name,
                "score": float(scores[i]),
                "decision": decisions[i].decision,
            }
            for i in rows[:GALLERY]
        ]
        for kind, rows in chosen.items()
    }


def spread(items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most `GALLERY` pictures, `EACH` of a condition first, the conditions in their order."""
    turns: dict[str, int] = {}
    ranked = []
    for place, item in enumerate(items):
        turn = turns.get(item["condition"], 0)
        turns[item["condition"]] = turn + 1
        ranked.append((turn // EACH, place, item))
    return [item for *_, item in sorted(ranked, key=lambda r: r[:2])[:GALLERY]]
