"""Good images that calibrate a detector whose bank has changed: those that did before, or new parts set aside."""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from gnl_jax.detection.parts import CALIBRATION_SHARE, MOST_CALIBRATION, GoodImages, split_parts
from gnl_jax.detection.record import Record
from gnl_jax.detection.threshold import (
    REVIEW_DEFAULTS,
    RateError,
    Rule,
    Rules,
    make_drift_rule,
    make_rules,
    parts_needed,
)


class NewCalibration(NamedTuple):
    """What a detector is calibrated with.

    Attributes:
        images: that calibrate; none where no rate is stated.
        rules, drift_rule: what they support.
        drift: those of the images that calibrate drift; None for all.
        notes: what has to be said.
    """

    images: GoodImages
    rules: Rules[Rule | None]
    drift_rule: Rule | None
    drift: GoodImages | None = None
    notes: tuple[str, ...] = ()


USES = {
    "fit": "have been learned from already",
    "calibration": "calibrate the detector",
    "drift_reference": "are what its drift is measured against",
}


def known_images(data: Mapping[str, Any], uses: Sequence[str] = tuple(USES)) -> dict[str, set[str]]:
    """What a detector's images served for, in words, to their hashes; of all uses, or of some."""
    return {USES[name]: set(data.get(name, ())) for name in uses}


def old_calibration(
    record: Record, images: GoodImages | None, *, none: GoodImages, say: Callable[[str], None]
) -> NewCalibration:
    """The images that calibrated before, found among `images` by their pixels, with the rules there were.

    `none` has no images: what calibrates a detector that states no rate.
    Raises ValueError where some are missing, or where they were told apart into other parts than before.
    """
    wanted, rules = record.manifest["data"]["calibration"], record.rules
    if rules.review is None:
        if images is not None:
            raise ValueError(
                "calibration: got images, expected none: no image calibrates this detector (gnl-jax recalibrate does)"
            )
        return NewCalibration(none, rules, None)
    if images is None:
        raise ValueError(
            f"calibration: got no images, expected the {len(wanted)} that calibrate the detector "
            "(--calibration-images FOLDER): its scores change, and its thresholds with them"
        )
    place = {digest: i for i, digest in enumerate(images.hashes)}
    missing = [digest for digest in wanted if digest not in place]
    if missing:
        raise ValueError(
            f"calibration: got {len(wanted) - len(missing)} of the {len(wanted)} images that calibrate the detector "
            f"among {len(images.names)}, expected all of them (--calibration-images)"
        )
    found = images.take([place[digest] for digest in wanted])
    if (parts := len(set(found.parts))) != rules.review.n:
        raise ValueError(
            f"calibration: got images of {parts} parts, expected {rules.review.n} as before; are parts told apart by "
            "the same group_by (--group-by)?"
        )
    if unused := len(images.names) - len(wanted):
        say(f"{len(wanted)} images calibrate; {unused} others among them do not and are not looked at")
    reference = set(record.manifest["data"].get("drift_reference", ()))
    drift = found.take([i for i, digest in enumerate(found.hashes) if digest not in reference])
    return NewCalibration(found, rules, record.drift_rule, drift)


def set_aside(
    record: Record,
    more: GoodImages,
    *,
    count: int | None,
    ng: Fraction | None,
    review: Fraction | None,
    confidence: float | None,
    seed: int,
) -> tuple[GoodImages, NewCalibration]:
    """(images to learn from, calibration with the others): whole parts, drawn from the seed.

    As many parts as the rates take, and at least 30 %, at most 399. None are set aside where the detector states no
    rate, none is requested and the parts are too few for any.

    Raises:
        RateError: more parts are needed than there are.
    """
    old, n = record.rules, len(set(more.parts))
    if confidence is None:
        confidence = old.review and old.review.confidence
    asked = (ng, review) if ng or review else (old.ng and old.ng.rate, old.review and old.review.rate)
    least = parts_needed(REVIEW_DEFAULTS[-1], confidence=confidence)
    needed = max((parts_needed(rate, confidence=confidence) for rate in asked if rate), default=least)
    if not any(asked) and count is None and n <= needed:
        note = f"no rate can be guaranteed: that takes {needed + 1} images (one for each part) at once, got {n}"
        return more, NewCalibration(more.take([]), old, None, notes=(note,))
    wanted = max(needed, min(int(CALIBRATION_SHARE * n), MOST_CALIBRATION)) if count is None else count
    if n <= wanted:
        raise RateError(
            f"got good images of {n} parts, expected at least {wanted + 1}, {wanted} of them set aside to calibrate: "
            "give more, or the images that calibrate the detector (--calibration-images FOLDER)"
        )
    rules, notes = make_rules(wanted, ng=asked[0], review=asked[1], confidence=confidence)
    drift_rule, note = make_drift_rule(wanted, confidence=confidence)
    if drift_rule is None:
        notes = [*notes, note]
    learned, calibrating = map(more.take, split_parts(more.parts, wanted, seed=seed))
    said = f"{len(calibrating.names)} of {len(more.names)} images are set aside to calibrate, instead of those before"
    return learned, NewCalibration(calibrating, rules, drift_rule, notes=(said, *notes))
