"""The lamp has changed: new thresholds, p-values and drift reference from good parts of the new condition."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from gnl_jax.detection.artifact import NETWORKS, build_detector
from gnl_jax.detection.calibrate import calibrated, drift_reference, provenance
from gnl_jax.detection.detector import Detector
from gnl_jax.detection.parts import LEAST_CALIBRATION, GoodImages, check_distinct
from gnl_jax.detection.record import Record, rule_record
from gnl_jax.detection.threshold import RateError, Rule, make_rule, make_rules
from gnl_jax.methods.scoring import hold_region

PyTree = Any
WITH_OWN_REFERENCE = 2 * LEAST_CALIBRATION  # parts from which on half of them can be the new drift reference


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
    say: Callable[[str], None] = logging.info,
) -> Recalibrated:
    """A detector for a new condition, with the same weights, from consecutive parts that were verified to be good.

    Those that the old detector stopped belong to them: without them the new rate would be promised for easy parts
    only. All parts calibrate the score. From 18 parts on the first half becomes the new drift reference and the second
    half calibrates drift; below, the old reference stays and all parts calibrate it.

    Args:
        detector: the old one.
        good: images of the new condition, in the order they were made.
        parent: SHA-256 of the old detector's file.
        condition, reason: what changed and why this was done, for the record.
        ng, review, confidence: as for `make_rules`; None for the defaults, as far as the parts support them.
        say: is told what is promised, one sentence at a time.

    Raises:
        ValueError: too few parts, images that the detector was fitted or calibrated with; they are named.
    """
    record = detector.known
    check_distinct(good, record.manifest["data"]["fit"], what="used for fitting")
    check_distinct(good, record.manifest["data"]["calibration"], what="used for calibration")
    parts = list(dict.fromkeys(good.parts))
    rules, notes = make_rules(len(parts), ng=ng, review=review, confidence=confidence)
    half = len(parts) // 2 if len(parts) >= WITH_OWN_REFERENCE else 0
    reference, tested = (good.take([i for i, p in enumerate(good.parts) if p in side]) for side in _sides(parts, half))
    matchings = dict(record.matchings)
    if half:
        held = reference.images
        if "region" in detector.variables:
            held = np.asarray(hold_region(held, detector.variables["region"]))
        teacher = detector.variables["teacher"]
        matchings = {
            kind: {**extras, "drift": drift_reference(record.config, teacher, kind, extras, held)}
            for kind, extras in record.matchings.items()
        }
    else:
        notes.append(
            f"drift is still measured against the old condition: a new reference takes {WITH_OWN_REFERENCE} parts"
        )
    manifest = {
        **record.manifest,
        "rules": {
            "ng": rule_record(rules.ng),
            "review": rule_record(rules.review),
            "drift": rule_record(_drift_rule(record.drift_rule, len(parts) - half, confidence)),
        },
        "data": {
            **record.manifest["data"],
            "calibration": list(good.hashes),
            "drift_reference": list(reference.hashes),
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
    networks = {key: detector.variables[key] for key in NETWORKS if key in detector.variables}
    fresh = calibrated(build_detector(networks, Record(manifest, matchings, {})), good, drift=tested if half else None)
    for name, rule in (("NG", rules.ng), ("REVIEW", rules.review)):
        if rule:
            say(f"{name}: good parts stopped {rule.describe()}")
    for note in notes:
        say(note)
    old_most = float(record.calibration.score[-1])
    blind = fresh.record.thresholds[1] > old_most
    if blind:
        say(
            f"the new threshold {fresh.record.thresholds[1]:.4g} is above the scores of all old good parts (up to "
            f"{old_most:.4g}): in this condition the detector may be blind"
        )
    return Recalibrated(fresh, notes, blind)


def _sides(parts: list[str], half: int) -> tuple[set[str], set[str]]:
    return set(parts[:half]), set(parts[half:])


def _drift_rule(old: Rule | None, n: int, confidence: float | None) -> Rule | None:
    """The old rate if n parts support it, else none."""
    try:
        return old and make_rule(old.rate, n, confidence=confidence)
    except RateError:
        return None
