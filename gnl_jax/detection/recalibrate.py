"""The lamp has changed: new thresholds, p-values and drift reference from good parts of the new condition."""

import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging

from gnl_jax.batches import ImageSource
from gnl_jax.detection.artifact import build_detector, shared_variables
from gnl_jax.detection.calibrate import calibrated, provenance
from gnl_jax.detection.detector import Detector, predict
from gnl_jax.detection.inspection import ERROR, inspect
from gnl_jax.detection.limits import Counts, Limits
from gnl_jax.detection.parts import LEAST_CALIBRATION, GoodImages, check_distinct, largest_by_part
from gnl_jax.detection.record import Record, folder_drift, rule_record
from gnl_jax.detection.threshold import OK, RateError, Rule, Rules, make_drift_rule, make_rules
from gnl_jax.detection.verdict import Choice, choose, probably_blind
from gnl_jax.detection.windowed import squares_to_learn
from gnl_jax.methods.base import Method
from gnl_jax.methods.build import build_method, matmul_precision

PyTree = Any
WITH_OWN_REFERENCE = 2 * LEAST_CALIBRATION  # parts from which on half of them can be the new drift reference


class Compared(NamedTuple):
    """Old and new detector on the same parts, which one to use, and files that could not be read."""

    old: Counts
    new: Counts
    blind: bool
    choice: Choice
    unreadable: tuple[str, ...]


def compare(
    old: Detector,
    new: "Recalibrated",
    good: GoodImages,
    *,
    bad: Sequence[str | os.PathLike] = (),
    bad_parts: Sequence[str] = (),
    limits: Limits,
) -> Compared:
    """Both detectors on the parts of the new condition, and the verdict: keep, replace or refit.

    Args:
        old, new: the detectors.
        good: the good parts that calibrated the new one; they judge the old one alone.
        bad: image files of defective parts of the new condition; a part is caught if one of its images is flagged.
        bad_parts: the part that each of them shows.
        limits: what is acceptable.
    """
    unreadable: set[str] = set()
    flagged = []
    for detector in (old, new.detector):
        mine: dict[str, bool] = {}
        for part, said in zip(bad_parts, inspect(detector, list(bad)), strict=True):
            if said.decision == ERROR:
                unreadable.add(f"{said.path}: {said.reason}")
            else:
                mine[part] = mine.get(part, False) or said.decision != OK
        flagged.append(mine)
    before, now = flagged
    lost = sum(before[part] and not now[part] for part in now)
    gained = sum(now[part] and not before[part] for part in now)
    was = good_counts(old, good)._replace(bad=len(before), caught=sum(before.values()))
    fresh = good_counts(new.detector, good)._replace(bad=len(now), caught=sum(now.values()), lost=lost, gained=gained)
    blind = probably_blind(fresh, above_clean=new.may_be_blind, limits=limits)
    return Compared(was, fresh, blind, choose(was, blind=blind, limits=limits), tuple(sorted(unreadable)))


def good_counts(detector: Detector, good: GoodImages) -> Counts:
    """How a detector decides on good parts: flagged by score, or by drift alone."""
    prediction = predict(detector, good.images, maps=False)
    reasons: dict[str, set[str]] = {}
    for part, said in zip(good.parts, detector.decide(prediction), strict=True):
        reasons.setdefault(part, set()).add(said.reason)
    by_score = sum("score" in found for found in reasons.values())
    by_drift = sum("drift" in found and "score" not in found for found in reasons.values())
    drift = () if prediction.drift is None else largest_by_part(prediction.drift, good.parts)
    folder = folder_drift(detector.require_record(), drift)
    return Counts(len(reasons), by_score, by_drift, drift_seen=bool(folder and folder.alarm))


class Recalibrated(NamedTuple):
    """The new detector; what has to be said about it; whether its threshold passes what the old good parts scored."""

    detector: Detector
    notes: list[str]
    may_be_blind: bool


def recalibrate(
    detector: Detector,
    good: GoodImages,
    *,
    parent: str,
    condition: str,
    reason: str = "",
    ng: Fraction | None = None,
    review: Fraction | None = None,
    confidence: float | None = None,
    group_by: str = "",
    say: Callable[[str], None] = logging.info,
) -> Recalibrated:
    """A detector for a new condition, with the same weights, from consecutive parts that were verified to be good.

    Include those that the old detector flagged: without them the new rate would be guaranteed for easy parts only. All
    parts calibrate the score. From 18 parts on the first half becomes the new drift reference and the second half
    calibrates drift; below, the old reference stays and all parts calibrate it.

    Args:
        detector: the old one.
        good: images of the new condition, in the order they were made.
        parent: SHA-256 of the old detector's file.
        condition, reason: what changed and why this was done, for the record.
        ng, review, confidence: as for `make_rules`; None for those of the old detector. If there are too few parts
            for these, the defaults are used, and `say` is told.
        group_by: how the parts were told apart, for the record.
        say: is told what is guaranteed, one sentence at a time.

    Raises:
        ValueError: too few parts, images that the detector was fitted or calibrated with; they are named.
    """
    record = detector.require_record()
    data = record.manifest["data"]
    for name, used in (("fit", "fitting"), ("calibration", "calibration"), ("drift_reference", "the drift reference")):
        check_distinct(good.hashes, good.names, data.get(name, ()), what=f"used for {used}")
    parts = list(dict.fromkeys(good.parts))
    rules, notes = _rules(record.rules, len(parts), ng=ng, review=review, confidence=confidence)
    matchings, shared = dict(record.matchings), shared_variables(detector)
    methods = {kind: _method(detector, kind, {**shared, **extras}) for kind, extras in matchings.items()}
    makers = {kind: method.make_drift for kind, method in methods.items() if method.make_drift is not None}
    measured = len(makers) == len(methods)
    half = len(parts) // 2 if measured and len(parts) >= WITH_OWN_REFERENCE else 0
    reference, tested = (good.take([i for i, p in enumerate(good.parts) if p in side]) for side in _sides(parts, half))
    if half:
        held = squares_to_learn(reference, detector.grid, detector.variables.get("region")).images
        matchings = {
            kind: {**extras, **_new_drift(detector, makers[kind], {**shared, **extras}, held)}
            for kind, extras in record.matchings.items()
        }
    elif measured:
        notes.append(
            f"drift is still measured against the old condition: a new reference takes {WITH_OWN_REFERENCE} parts"
        )
    clean = {} if record.rules.review is None else {"clean_maximum": float(record.calibration.score[-1])}
    old_drift = record.drift_rule
    drift_rule, drift_note = make_drift_rule(len(parts) - half, confidence=rules.review.confidence)
    if drift_rule is None or (old_drift and drift_rule.rate != old_drift.rate):
        notes.append(drift_note + (f": {half} of the {len(parts)} are the new reference of drift" if half else ""))
    manifest = {
        **clean,
        **record.manifest,
        "rules": {
            "ng": rule_record(rules.ng),
            "review": rule_record(rules.review),
            "drift": rule_record(drift_rule),
        },
        "data": {
            **data,
            "calibration": list(good.hashes),
            "drift_reference": list(reference.hashes) if half else list(data.get("drift_reference", ())),
            "group_by": group_by,
            "excluded": [],
        },
        "made": provenance() | {"steps": record.manifest["made"].get("steps")},
        "parent": {
            "sha256": parent,
            "condition": condition,
            "reason": reason,
            "date": provenance()["date"],
            "parent": record.manifest["parent"],
        },
    }
    unset = build_detector(shared, Record(manifest, matchings, {}), method=detector.method)
    fresh = calibrated(unset, good, drift=tested if half else None)
    for name, rule in (("NG", rules.ng), ("REVIEW", rules.review)):
        if rule:
            say(f"{name}: false alarms {rule.describe()}")
    for note in notes:
        say(note)
    clean_maximum = manifest.get("clean_maximum", np.inf)  # none where nothing calibrated before
    threshold = fresh.require_record().require_rules().review.threshold(fresh.require_record().calibration.score)
    blind = threshold > clean_maximum
    if blind:
        say(
            f"the new threshold {threshold:.4g} is above the scores of all good parts of the first calibration "
            f"(up to {clean_maximum:.4g}): in this condition the detector may be blind"
        )
    return Recalibrated(fresh, notes, blind)


def _method(detector: Detector, kind: str, variables: PyTree) -> Method:
    config = detector.require_record().config
    return detector.method or build_method(config, matching=kind, frozen=variables.get("teacher"))


def _new_drift(
    detector: Detector, make: Callable[[PyTree, ImageSource], PyTree], variables: PyTree, images: ImageSource
) -> PyTree:
    """The entry "drift" of a matching, measured against these images."""
    with jax.default_matmul_precision(matmul_precision(detector.require_record().config)):
        return {"drift": make(variables, images)}


def _sides(parts: list[str], half: int) -> tuple[set[str], set[str]]:
    return set(parts[:half]), set(parts[half:])


def _rules(
    old: Rules[Rule | None], n: int, *, ng: Fraction | None, review: Fraction | None, confidence: float | None
) -> tuple[Rules[Rule], list[str]]:
    """The requested rules; else the old rates if n parts support them, else the defaults, with a note that says so."""
    asked = (ng, review) if ng or review else (old.ng and old.ng.rate, old.review and old.review.rate)
    confidence = old.review and old.review.confidence if confidence is None else confidence
    try:
        return make_rules(n, ng=asked[0], review=asked[1], confidence=confidence)
    except RateError as error:
        if ng or review:
            raise
        rules, notes = make_rules(n, confidence=confidence)
        return rules, [f"the old rates do not hold any more: {error}", *notes]
