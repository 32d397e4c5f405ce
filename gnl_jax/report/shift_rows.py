"""A row of the shift report: what a detector says of one condition's images, counted."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gnl_jax.detection.detector import Detector, predict
from gnl_jax.detection.record import folder_drift
from gnl_jax.detection.threshold import NG, OK, REVIEW
from gnl_jax.evaluation.metrics import auroc
from gnl_jax.methods.base import Prediction
from gnl_jax.report.conditions import clopper_pearson, in_words, seen_in_training, sentence
from gnl_jax.report.overlay import overlay, picture
from gnl_jax.report.shift_files import Condition

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
    drift = detector.require_record().drift_rule
    return float(detector.require_record().rules.review.rate + (drift.rate if drift else 0))


class Part(NamedTuple):
    """What happens to a part: the worst decision on its images, with its reason, and its largest drift."""

    decision: str
    reason: str
    drift: float | None


def by_part(detector: Detector, shown: Shown, prediction: Prediction, rows: np.ndarray) -> list[Part]:
    """The parts that some of the images show. rows: bool [n]; the prediction is of these rows alone."""
    names = [part for part, chosen in zip(shown.condition.files.parts, rows) if chosen]
    drift = [None] * len(names) if prediction.drift is None else prediction.drift.tolist()
    parts: dict[str, Part] = {}
    for name, said, value in zip(names, detector.decide(prediction), drift, strict=True):
        new, old = Part(said.decision, said.reason, value), parts.get(name)
        if old is not None:
            worst = max(old, new, key=lambda part: _GRAVITY[part.decision, part.reason])
            new = worst._replace(drift=value if old.drift is None else max(old.drift, value))
        parts[name] = new
    return list(parts.values())


_GRAVITY = {(OK, ""): 0, (REVIEW, "drift"): 1, (REVIEW, "score"): 2, (NG, "score"): 3}


def counts(parts: Sequence[Part]) -> dict[str, int]:
    """How many parts are stopped (REVIEW or NG), and how many of them rejected (NG)."""
    return {"stopped": sum(p.decision != OK for p in parts), "rejected": sum(p.decision == NG for p in parts)}


def counts_good(detector: Detector, shown: Shown) -> dict[str, int]:
    """What a detector does with the good parts among the images."""
    prediction = predict(detector, shown.images[shown.good], maps=False)
    return counts(by_part(detector, shown, prediction, shown.good))


def _rows(prediction: Prediction, rows: np.ndarray) -> Prediction:
    return Prediction(*(None if field is None else field[rows] for field in prediction))


def condition_row(
    detector: Detector, shown: Shown, matchings: dict[str, Any], baseline: dict[str, int] | None, *, promised: float
) -> dict[str, Any]:
    """The condition's entry in the report (`report/html.py` has its fields)."""
    condition, good = shown.condition, shown.good
    parts = by_part(detector, shown, _rows(shown.prediction, good), good)
    mine, n = counts(parts), len(parts)
    drift = _drift(detector, parts)
    matchings = {detector.require_record().matching: mine, **matchings}
    clean = condition.kind == "clean"
    seen, note = (None, "")
    if condition.family is not None:
        seen, note = seen_in_training(detector.require_record().config, condition.family, condition.severity)
    what = in_words(condition.family, condition.severity) if condition.family else condition.name
    example = int(np.flatnonzero(good)[0])
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
        "defects": _defects(detector, shown),
        "auroc": auroc(shown.prediction.score, ~good) if good.any() and not good.all() else None,
        "thumbnail": picture(shown.images[example], THUMBNAIL),
        "histogram": _histogram(detector, shown),
    }


def _drift(detector: Detector, parts: Sequence[Part]) -> dict[str, Any] | None:
    values = [part.drift for part in parts if part.drift is not None]
    if not values:
        return None
    folder = folder_drift(detector.require_record(), values)
    alarms = sum(part.reason == "drift" for part in parts)
    return {"median": float(np.median(values)), "alarms": alarms, "alarm": bool(folder and folder.alarm)}


def _defects(detector: Detector, shown: Shown) -> list[dict[str, Any]]:
    defects, rows = np.array(shown.condition.files.defects), []
    for kind in sorted(set(defects.tolist()) - {""}):
        parts = by_part(detector, shown, _rows(shown.prediction, defects == kind), defects == kind)
        rows.append({"name": kind, "n": len(parts), **counts(parts)})
    return rows


def _histogram(detector: Detector, shown: Shown) -> dict[str, Any]:
    """Scores in equal bins from zero to the 99th percentile; what lies beyond is in the last one."""
    scores, record = shown.prediction.score, detector.require_record()
    reach = max(1.25 * record.thresholds[0 if record.rules.ng else 1], float(np.quantile(scores, 0.99)))
    edges = np.linspace(0, reach, BINS + 1)
    held = np.clip(scores.astype(np.float64), 0, reach)
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
    _, threshold = detector.require_record().thresholds
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
