"""A row of the shift report: what a detector says of one condition's images, counted."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gnl_jax.batches import ShapedSource
from gnl_jax.data.sources import subset
from gnl_jax.detection.detector import Detector, predict
from gnl_jax.detection.evidence import upper_bound
from gnl_jax.detection.limits import Counts
from gnl_jax.detection.record import folder_drift
from gnl_jax.detection.threshold import NG, OK, REVIEW
from gnl_jax.detection.verdict import Judgement
from gnl_jax.evaluation.metrics import auroc
from gnl_jax.methods.base import Prediction, each_array
from gnl_jax.report.conditions import LABELS, in_words, seen_in_training, sentence
from gnl_jax.report.shift_files import Condition

BINS = 30  # of the histograms


class Shown(NamedTuple):
    """A condition, its images uint8 [n s s 3] or a source of them, and what was predicted, without maps."""

    condition: Condition
    images: ShapedSource
    prediction: Prediction[np.ndarray]

    @property
    def good(self) -> np.ndarray:
        """Which images show good parts, bool [n]."""
        return np.array([defect == "" for defect in self.condition.files.defects], bool)


class Part(NamedTuple):
    """What happens to a part: the worst decision on its images, with its reason, and its largest drift."""

    decision: str
    reason: str
    drift: float | None


def by_part(detector: Detector, shown: Shown, prediction: Prediction[np.ndarray], rows: np.ndarray) -> list[Part]:
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
    """How many parts are flagged (REVIEW or NG), and how many of them rejected (NG)."""
    return {"stopped": sum(p.decision != OK for p in parts), "rejected": sum(p.decision == NG for p in parts)}


def counts_good(detector: Detector, shown: Shown) -> dict[str, int]:
    """What a detector does with the good parts among the images."""
    prediction = predict(detector, subset(shown.images, np.flatnonzero(shown.good)), maps=False)
    return counts(by_part(detector, shown, prediction, shown.good))


def _rows(prediction: Prediction[np.ndarray], rows: np.ndarray) -> Prediction[np.ndarray]:
    return each_array(prediction, lambda field: field[rows])


def decided(detector: Detector, shown: Shown) -> list[bool]:
    """Whether each image is flagged (REVIEW or NG)."""
    return [said.decision != OK for said in detector.decide(shown.prediction)]


def count(detector: Detector, shown: Shown, unshifted: Mapping[str, bool], clean: Counts | None) -> Counts:
    """The counts of a condition, by part.

    Args:
        detector: that decided.
        shown: the condition.
        unshifted: path -> whether the image is flagged unshifted; the same parts are compared by the same images.
        clean: of the unshifted parts, for conditions of other parts; None for the unshifted parts themselves.
    """
    parts = by_part(detector, shown, _rows(shown.prediction, shown.good), shown.good)
    folder = folder_drift(detector.require_record(), [p.drift for p in parts if p.drift is not None])
    by_drift = sum(part.reason == "drift" for part in parts)
    now, before = _flagged(shown, decided(detector, shown)), None
    if shown.condition.kind == "simulated":
        before = _flagged(shown, [unshifted[path] for path in shown.condition.files.paths])
    found = Counts(
        good=len(parts),
        by_score=counts(parts)["stopped"] - by_drift,
        by_drift=by_drift,
        bad=len(now),
        caught=sum(now.values()),
        drift_seen=bool(folder and folder.alarm),
    )
    if before is not None:
        lost, gained = sum(before[p] and not now[p] for p in now), sum(now[p] > before[p] for p in now)
        return found._replace(lost=lost, gained=gained)
    return found if clean is None else found._replace(bad_before=clean.bad, caught_before=clean.caught)


def _flagged(shown: Shown, images: Sequence[bool]) -> dict[tuple[str, str], bool]:
    """(kind of defect, part) -> whether any of its images is flagged."""
    files = shown.condition.files
    found: dict[tuple[str, str], bool] = {}
    for defect, part, flag in zip(files.defects, files.parts, images, strict=True):
        if defect:
            found[defect, part] = found.get((defect, part), False) or flag
    return found


def condition_row(
    detector: Detector, shown: Shown, counted: Counts, matchings: dict[str, Any], baseline: dict[str, int] | None
) -> dict[str, Any]:
    """The condition's entry in the report, not judged yet (`report/schema.py` has its fields)."""
    condition, good = shown.condition, shown.good
    parts = by_part(detector, shown, _rows(shown.prediction, good), good)
    mine = counts(parts)
    seen, note, what = None, "", _named(condition)
    if condition.family is not None and condition.severity is not None:
        seen, note = seen_in_training(detector.require_record().config, condition.family, condition.severity)
        what = in_words(condition.family, condition.severity)
    return {
        "name": condition.name,
        "what": what,
        "label": LABELS[condition.family] if condition.family else _named(condition),
        "family": condition.family,
        "severity": condition.severity,
        "kind": condition.kind,
        "seen": seen,
        "seen_note": note,
        "n": counted.good,
        "by_score": counted.by_score,
        "by_drift": counted.by_drift,
        **mine,
        "alarms_bound": upper_bound(counted.by_score, counted.good),
        "bad": counted.bad,
        "caught": counted.caught,
        "lost": counted.lost,
        "gained": counted.gained,
        "drift": _drift(parts, alarm=counted.drift_seen),
        "matchings": {detector.require_record().matching: mine, **matchings},
        "baseline": baseline,
        "defects": _defects(detector, shown),
        "auroc": auroc(shown.prediction.score, ~good) if good.any() and not good.all() else None,
        "histogram": _histogram(detector, shown),
    }


def judged(row: Mapping[str, Any], counted: Counts, judgement: Judgement) -> dict[str, Any]:
    """The entry with its verdict."""
    return {
        **row,
        "sentence": sentence(row["what"], counted, judgement),
        "state": judgement.state.value,
        "alarms": judgement.alarms.value,
        "detection": judgement.defects.value,
        "good_enough": judgement.good_enough,
        "bad_enough": judgement.bad_enough,
    }


def _named(condition: Condition) -> str:
    return "unshifted" if condition.kind == "clean" else condition.name


def _drift(parts: Sequence[Part], *, alarm: bool) -> dict[str, Any] | None:
    values = [part.drift for part in parts if part.drift is not None]
    return {"median": float(np.median(values)), "alarm": alarm} if values else None


def _defects(detector: Detector, shown: Shown) -> list[dict[str, Any]]:
    defects, rows = np.array(shown.condition.files.defects), []
    for kind in sorted(set(defects.tolist()) - {""}):
        parts = by_part(detector, shown, _rows(shown.prediction, defects == kind), defects == kind)
        rows.append({"name": kind, "n": len(parts), **counts(parts)})
    return rows


def _histogram(detector: Detector, shown: Shown) -> dict[str, Any]:
    """Scores in equal bins from zero to the 99th percentile; what lies beyond is in the last one."""
    scores, record = shown.prediction.score, detector.require_record()
    rejected, reviewed = record.thresholds
    threshold = reviewed if rejected is None else rejected
    reach = max(1.25 * (threshold or 0.0), float(np.quantile(scores, 0.99)))
    edges = np.linspace(0, reach, BINS + 1)
    held = np.clip(scores.astype(np.float64), 0, reach)
    of = {
        name: np.histogram(held[rows], edges)[0].tolist() for name, rows in (("good", shown.good), ("bad", ~shown.good))
    }
    return {"edges": edges.tolist(), **of}
