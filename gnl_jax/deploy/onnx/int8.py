"""Writes a detector as an 8-bit ONNX model, with thresholds of its own, if it loses no more than stated bounds."""

import dataclasses
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gnl_jax.data.pixels import pixel_hash
from gnl_jax.data.sources import in_memory
from gnl_jax.deploy.onnx.check import (
    BATCHES,
    TINY,
    Outputs,
    Trials,
    check_decisions,
    check_measured,
    make_band,
    measure,
    run_all,
)
from gnl_jax.deploy.onnx.decision import EXACT, Band, bounds
from gnl_jax.deploy.onnx.export import check_shapes, metadata, write_model
from gnl_jax.deploy.onnx.model import check_exportable, make_graph
from gnl_jax.deploy.onnx.quantise import LEAST_IMAGES, MOST_IMAGES, quantise, quantised_nodes
from gnl_jax.deploy.onnx.run import Run, in_batches, onnxruntime_run
from gnl_jax.deploy.onnx.serialise import serialise
from gnl_jax.deploy.trials import ExportError, check_whole, hard, pasted, squares, thresholds
from gnl_jax.detection.detector import Detector
from gnl_jax.detection.new_calibration import old_calibration
from gnl_jax.detection.parts import GoodImages, largest_by_part
from gnl_jax.detection.record import Calibration
from gnl_jax.methods.base import Prediction

LEAST_CORRELATION = 0.95  # Spearman's, of the scores of good images and simulated defects
MOST_LOST = 0.01  # of the AUROC on simulated defects
_DEFECTS = 2  # simulated for each good image
_TIMED = 10  # calls of each model


class Quantised(NamedTuple):
    """What was written, gained and lost.

    Attributes:
        correlation: Spearman's, of both models' scores.
        auroc: on simulated defects, float32 and int8.
        seconds: of one image, the median of each model, float32 and int8, in turns.
        size: bytes, float32 and int8.
        images: how many the ranges were taken from, how many good ones and defects were compared.
        thresholds: above which a part is rejected (None: never) and reviewed.
        paths: model, manifest and runtime.
    """

    correlation: float
    auroc: tuple[float, float]
    seconds: tuple[float, float]
    size: tuple[int, int]
    images: tuple[int, int, int]
    thresholds: tuple[float | None, float | None]
    paths: tuple[Path, Path, Path]


def export_int8(
    detector: Detector,
    path: str | os.PathLike,
    *,
    images: Iterable[np.ndarray],
    calibration: GoodImages,
    input_size: tuple[int, int] | None = None,
    parent: str = "",
    say: Callable[[str], None] = lambda text: None,
) -> Quantised:
    """Writes a calibrated detector with its convolutions in 8 bits, its manifest, and `gnl_onnx.py`, which runs it.

    Its scores are other numbers, so its thresholds and p-values come from its own scores of the images that calibrate
    the detector. No other image decides anything but whether it is written.

    Args:
        detector: a calibrated one.
        path: of the model.
        images: uint8 [h w 3] in their native sizes, those that the detector has learned from among them: only these
            set the ranges of activations. No more are taken than it needs.
        calibration: all images that calibrate the detector; known by their pixels.
        input_size, parent: as for `export_onnx`.
        say: is told what is done, one sentence at a time.

    Raises:
        ExportError: the float32 graph differs from the detector, or the 8-bit one ranks images otherwise or finds fewer
            simulated defects than `LEAST_CORRELATION` and `MOST_LOST` allow; nothing is written.
        ValueError: too few images that were learned from, calibration images that are missing, a detector that a
            graph cannot hold.
    """
    check_exportable(detector)
    check_whole(detector, "with int8")
    record, target = detector.require_record(), "onnxruntime"
    native, seen = _learned_from(detector, images, input_size)
    anew = old_calibration(record, calibration, none=calibration.take([]), say=say)
    exact = serialise(make_graph(detector), {})
    good = in_memory(anew.images.images)
    defects = pasted(good, count=_DEFECTS)
    _check_float(detector, onnxruntime_run(exact), anew.images, defects)
    small = _quantised(detector, seen)
    runs = (onnxruntime_run(exact), onnxruntime_run(small))
    say(f"8-bit ranges are those of {len(seen)} images that were learned from")
    correlation, auroc = compare(runs, good, defects)
    drifting = anew.images if anew.drift is None else anew.drift
    scored = in_batches(runs[1], good, 1)
    kept = np.isin(anew.images.hashes, drifting.hashes)
    calibrations = {**record.calibrations, record.matching: _calibration(scored, anew.images, kept)}
    own = dataclasses.replace(detector, record=dataclasses.replace(record, calibrations=calibrations))
    shown = np.concatenate([good, defects])
    outputs = run_all(runs[1], shown)
    band = make_band(_disagreement(own, outputs))
    about = metadata(own, band=band, errors={}, parent=parent, input_size=input_size, target=target)
    about["int8"] = {
        "images": len(seen),
        "correlation": correlation,
        "auroc": dict(zip(("float32", "int8"), auroc)),
        "bounds": {"correlation": LEAST_CORRELATION, "auroc": MOST_LOST},
    }
    data = _quantised(own, native, band=band, about=about, input_size=input_size, target=target)
    if input_size is not None:  # native pixels of calibration images are not kept, those of training images are
        shown, outputs = native, run_all(runs[1], seen)
    _check(own, data, shown, measured=outputs, band=band)
    sizes, seconds = (len(exact), len(data)), _seconds(runs, good)
    counts = (len(seen), len(good), len(defects))
    paths = write_model(Path(path), data, about)
    return Quantised(correlation, auroc, seconds, sizes, counts, own.require_record().thresholds, paths)


def _check_float(detector: Detector, run: Run, good: GoodImages, defects: np.ndarray) -> None:
    """Raises ExportError, naming an image, unless the float32 graph, to which 8 bits are compared, is the detector."""
    few = good.take(range(min(len(good.names), MOST_IMAGES)))
    inside = in_memory(few.images)
    defects, difficult = defects[: _DEFECTS * len(few.names)], hard(inside[0])
    names = (*few.names, *(f"simulated defect {i}" for i in range(len(defects))), *difficult)
    inputs = np.concatenate([inside, defects, np.stack(list(difficult.values()))])
    trials = Trials(names, inputs, detector(inputs))
    measure(detector, run_all(run, trials.inputs), trials)


def compare(runs: tuple[Run, Run], good: np.ndarray, defects: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Spearman's correlation of two models' scores, and the AUROC of each.

    Raises:
        ExportError: the second model loses more than the bounds allow.
    """
    from scipy.stats import spearmanr
    from sklearn.metrics import roc_auc_score

    images, bad = np.concatenate([good, defects]), np.arange(len(good) + len(defects)) >= len(good)
    scores = [in_batches(run, images, 1)["score"] for run in runs]
    correlation = float(spearmanr(*scores).statistic)
    before, after = (float(roc_auc_score(bad, s)) for s in scores)
    if not correlation >= LEAST_CORRELATION:
        raise ExportError(
            f"int8: scores correlate with those in float32 by {correlation:.3f} (Spearman), expected at least "
            f"{LEAST_CORRELATION}"
        )
    if not after >= before - MOST_LOST:
        raise ExportError(
            f"int8: AUROC on simulated defects {100 * after:.1f} %, {100 * before:.1f} % in float32; expected at most "
            f"{100 * MOST_LOST:g} points less"
        )
    return correlation, (before, after)


def _learned_from(
    detector: Detector, images: Iterable[np.ndarray], input_size: tuple[int, int] | None
) -> tuple[np.ndarray, np.ndarray]:
    """The first images that the detector has learned from: as the model takes them, and as squares."""
    known = set(detector.require_record().manifest["data"]["fit"])
    taken, seen = [], []
    for image in images:
        (square,) = squares(detector, [image])
        if pixel_hash(square) in known:
            check_shapes([image], input_size)
            taken.append(np.asarray(image) if input_size else square)
            seen.append(square)
        if len(seen) == MOST_IMAGES:
            break
    if len(seen) < LEAST_IMAGES:
        raise ValueError(
            f"images: got {len(seen)} of the {len(known)} that the detector has learned from, expected at least "
            f"{LEAST_IMAGES}: no other image may set the ranges of 8-bit numbers"
        )
    return np.stack(taken), np.stack(seen)


def _quantised(detector: Detector, images: np.ndarray, *, band: Band = EXACT, about: Any = None, **options) -> bytes:
    graph = make_graph(detector, band=band, **options)
    return quantise(serialise(graph, about or {}), images, nodes=quantised_nodes(graph))


def _calibration(scored: dict[str, np.ndarray], good: GoodImages, kept: np.ndarray) -> Calibration:
    """What the calibration images score; drift of those that are kept for it."""
    drift = np.zeros(0, np.float32)
    if "drift" in scored:
        drift = largest_by_part(scored["drift"][kept], [part for part, keep in zip(good.parts, kept) if keep])
    return Calibration(largest_by_part(scored["score"], good.parts), drift)


def _disagreement(detector: Detector, outputs: Outputs) -> Band:
    """How far scores and drift differ between batch sizes, relative to the nearest threshold."""
    found, first = {"score": 0.0, "drift": 0.0}, outputs[BATCHES[0]]
    for limit in thresholds(detector):
        for got in outputs.values():
            off = float(np.abs(got[limit.kind] - first[limit.kind]).max())
            found[limit.kind] = max(found[limit.kind], off / max(abs(limit.value), TINY))
    return Band(**found)


def _check(detector: Detector, data: bytes, inputs: np.ndarray, *, measured: Outputs, band: Band) -> None:
    """Checks the model that is written, in each batch size.

    Args:
        detector: what it was made from.
        data: the model.
        inputs: images as it takes them.
        measured: of the model that set the thresholds, for the same images.
        band: in which it answers REVIEW.

    Raises:
        ExportError: the model scores otherwise than that one, or decides otherwise than its own numbers and thresholds
            say.
    """
    outputs = run_all(onnxruntime_run(data), inputs)
    check_measured(detector, outputs, measured)
    one = outputs[BATCHES[0]]
    trials = Trials(
        tuple(f"image {i}" for i in range(len(inputs))), inputs, Prediction(one["score"], None, one.get("drift"))
    )
    check_decisions(detector, outputs, trials, bounds(detector.require_record(), band), band)


def _seconds(runs: tuple[Run, Run], images: np.ndarray) -> tuple[float, float]:
    """Median seconds of one image, both models in turns."""
    spent: list[list[float]] = [[], []]
    for i in range(_TIMED):
        for run, mine in zip(runs, spent):
            begun = time.perf_counter()
            run(images[i % len(images)][None])
            mine.append(time.perf_counter() - begun)
    before, after = (float(np.median(mine)) for mine in spent)
    return before, after
