"""A memory bank learns from more good images, or takes some back, without starting over: what it was made with stays.

References of matching, pixel moments, principal components and what drift is measured against stay the parent's. Scores
change with the bank, so the calibration is always made anew.
"""

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeVar

import jax
import numpy as np
from absl import logging

from gnl_jax.detection.artifact import build_detector, shared_variables
from gnl_jax.detection.calibrate import calibrated, provenance
from gnl_jax.detection.detector import Detector
from gnl_jax.detection.new_calibration import NewCalibration, known_images, old_calibration, set_aside
from gnl_jax.detection.parts import GoodImages
from gnl_jax.detection.record import Record, rule_record
from gnl_jax.detection.windowed import of_windows, squares_to_learn
from gnl_jax.methods.base import Method
from gnl_jax.methods.build import build_method, matmul_precision

PyTree = Any
Step = TypeVar("Step", bound=Callable[..., Any])
MOST_NAMED = 5


def add_images(
    detector: Detector,
    more: GoodImages,
    *,
    parent: str,
    calibration: GoodImages | None = None,
    count: int | None = None,
    ng: Fraction | None = None,
    review: Fraction | None = None,
    confidence: float | None = None,
    group_by: str = "",
    reason: str = "",
    say: Callable[[str], None] = logging.info,
) -> Detector:
    """A detector that has learned from more good images: its memory bank grows by as many rows an image as it has.

    Args:
        detector: the parent, a memory bank.
        more: good images that it has not seen.
        parent: SHA-256 of the parent's file.
        calibration: good images, those that calibrated the parent among them, which calibrate again. None: some of the
            parts of `more`, drawn from the seed, are set aside to calibrate, and are not learned from.
        count: number of parts that are set aside; None for `set_aside`.
        ng, review, confidence: as for `make_rules`, with parts set aside; None for those of the parent.
        group_by: how parts were told apart, for the record.
        reason: why this is done, for the record.
        say: is told what was chosen, one sentence at a time.

    Returns:
        The new detector. The same call gives the same arrays, to the last bit.

    Raises:
        RateError: too few parts to set aside.
        ValueError: a detector that learns no more images; images that are duplicates, that it has learned from or was
            calibrated with (named); calibration images that are missing.
    """
    record, data = detector.require_record(), detector.require_record().manifest["data"]
    methods = _methods(detector)
    add = {kind: _able(method, method.add) for kind, method in methods.items()}
    check_new(more, data)
    if calibration is not None:
        learned, anew = more, old_calibration(record, calibration, none=more.take([]), say=say)
        _check_parts(more, anew.images, group_by)
    else:
        learned, anew = set_aside(
            record, more, count=count, ng=ng, review=review, confidence=confidence, seed=record.config.seed
        )
    images = squares_to_learn(learned, detector.grid, detector.variables.get("region"))
    say(f"{len(learned.names)} images are added to {len(data['fit'])}")
    return _successor(
        detector,
        methods,
        lambda kind, variables: add[kind](variables, images),
        anew,
        data={
            "fit": [*data["fit"], *learned.hashes],
            "added": [*data.get("added", ()), *learned.hashes],
            "group_by": group_by,
        },
        parent={"sha256": parent, "change": f"{len(learned.names)} images added", "reason": reason},
        say=say,
    )


def remove_images(
    detector: Detector,
    images: GoodImages,
    *,
    parent: str,
    calibration: GoodImages | None = None,
    reason: str = "",
    say: Callable[[str], None] = logging.info,
) -> Detector:
    """A detector whose memory bank holds nothing of some images any more.

    Images that `add_images` added can be taken back; those of the fit only where nothing but rows came from them.

    Args:
        detector: the parent, a memory bank.
        images: what is taken back, as the detector sees it.
        parent, reason, say: as for `add_images`.
        calibration: good images, those that calibrated the parent among them.

    Raises:
        ValueError: a detector that takes no images back; images that it has not learned from, or that shaped what
            stays; no calibration images, or missing ones.
    """
    record, data = detector.require_record(), detector.require_record().manifest["data"]
    methods = _methods(detector)
    drop = {kind: _able(method, method.drop) for kind, method in methods.items()}
    _check_removable(images, data, _shaped(detector, methods))
    anew = old_calibration(record, calibration, none=images.take([]), say=say)
    known, removed = list(data["fit"]), set(images.hashes)
    gone = [digest in removed for digest in known]
    of_squares = np.array(of_windows(gone, detector.grid), np.bool_)
    say(f"{sum(gone)} images are taken back of {len(known)}")
    return _successor(
        detector,
        methods,
        lambda kind, variables: drop[kind](variables, of_squares),
        anew,
        data={name: [h for h in data.get(name, ()) if h not in removed] for name in ("fit", "added")},
        parent={"sha256": parent, "change": f"{sum(gone)} images removed", "reason": reason},
        say=say,
    )


def check_new(more: GoodImages, data: Mapping[str, Any]) -> None:
    """ValueError, naming files, for images that are there twice, or that a detector was made with (`data`)."""
    first = {digest: i for i, digest in reversed(list(enumerate(more.hashes)))}
    known = known_images(data)
    _refuse(more, [first[digest] != i for i, digest in enumerate(more.hashes)], "are copies of others among them")
    for used, hashes in known.items():
        _refuse(more, [digest in hashes for digest in more.hashes], used)


def _refuse(images: GoodImages, found: Sequence[bool], what: str) -> None:
    names = [name for name, refused in zip(images.names, found, strict=True) if refused]
    if names:
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        raise ValueError(
            f"images: {len(names)} of {len(images.names)} {what}: {', '.join(map(repr, names[:MOST_NAMED]))}{more}; "
            "expected others alone"
        )


def _check_parts(more: GoodImages, calibration: GoodImages, group_by: str) -> None:
    """ValueError where images of one part would be learned from and calibrate; without groups nothing says so."""
    both = set(more.parts) & set(calibration.parts)
    if group_by and both:
        _refuse(more, [part in both for part in more.parts], "show parts that calibrate")


def _check_removable(images: GoodImages, data: Mapping[str, Any], shaped: Sequence[str]) -> None:
    fit, added = set(data["fit"]), set(data.get("added", ()))
    for used, hashes in known_images(data, ("calibration", "drift_reference")).items():
        _refuse(images, [digest in hashes for digest in images.hashes], used)
    _refuse(images, [digest not in fit for digest in images.hashes], "were not learned from")
    if shaped:
        what = f"shaped {' and '.join(shaped)}, so that without them a new fit is needed (gnl-jax fit --exclude)"
        _refuse(images, [digest not in added for digest in images.hashes], what)


def _methods(detector: Detector) -> dict[str, Method]:
    """The method of each matching."""
    record, frozen = detector.require_record(), detector.variables.get("teacher")
    return {
        kind: detector.method or build_method(record.config, matching=kind, frozen=frozen) for kind in record.matchings
    }


def _able(method: Method, step: Step | None) -> Step:
    """What a method does to its bank; ValueError where it cannot."""
    if step is None:
        raise ValueError(
            f"detector: got one of method {method.name!r}, expected a memory bank: only its images can be added to "
            "or taken back, for others fit a new detector"
        )
    return step


def _shaped(detector: Detector, methods: Mapping[str, Method]) -> list[str]:
    """What the images of the fit gave as a whole, over all matchings."""
    record, shared = detector.require_record(), shared_variables(detector)
    found = [_able(method, method.shaped)({**shared, **record.matchings[kind]}) for kind, method in methods.items()]
    return list(dict.fromkeys(name for names in found for name in names))


def _successor(
    detector: Detector,
    methods: Mapping[str, Method],
    change: Callable[[str, PyTree], PyTree],
    anew: NewCalibration,
    *,
    data: Mapping[str, Any],
    parent: Mapping[str, Any],
    say: Callable[[str], None],
) -> Detector:
    """The detector with changed variables for each matching, calibrated anew, its parent in the record."""
    record, old, matchings = detector.require_record(), shared_variables(detector), {}
    shared = dict(old)
    with jax.default_matmul_precision(matmul_precision(record.config)):
        for kind, method in methods.items():
            changed = change(kind, {**old, **record.matchings[kind]})
            own = {name: value for name, value in changed.items() if name in method.own}
            matchings[kind] = {**record.matchings[kind], **own}
            shared |= {name: value for name, value in changed.items() if name not in method.own}
    made = provenance()
    manifest = {
        **record.manifest,
        "rules": {
            "ng": rule_record(anew.rules.ng),
            "review": rule_record(anew.rules.review),
            "drift": rule_record(anew.drift_rule),
        },
        "data": {**record.manifest["data"], **data, "calibration": list(anew.images.hashes)},
        "made": made | {"steps": record.manifest["made"].get("steps")},
        "parent": {**parent, "date": made["date"], "parent": record.manifest["parent"]},
    }
    for name, rule in (("NG", anew.rules.ng), ("REVIEW", anew.rules.review)):
        if rule:
            say(f"{name}: false alarms {rule.describe()}")
    for note in anew.notes:
        say(note)
    unset = build_detector(shared, Record(manifest, matchings, {}), method=detector.method)
    return calibrated(unset, anew.images, drift=anew.drift)
