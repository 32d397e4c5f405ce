"""Is a graph equal to its detector? Numbers within a tolerance, decisions equal outside the measured band."""

from typing import NamedTuple

import numpy as np

from gnl_jax.deploy.onnx.decision import NG, OK, REVIEW, Band, Bounds, decided
from gnl_jax.deploy.onnx.run import Run, in_batches
from gnl_jax.deploy.trials import ExportError, of_two_colours, thresholds
from gnl_jax.detection.detector import Detector
from gnl_jax.detection.record import Record
from gnl_jax.detection.threshold import p_counts
from gnl_jax.methods.base import Prediction
from gnl_jax.methods.base import joined as together

BATCHES = (1, 2, 8)
UNMATCHED, MATCHED = 1e-5, 1e-3  # relative, of score and drift
# Of a matched map, which decides nothing. A swapped rank moves a feature by the distance of two quantiles, large where
# a stage is small: 1.2e-3 was seen on a stage of 8x8, 2.6e-3 on a constant image's tokens (ViT-S/14, 224 pixels).
MATCHED_MAP = 1e-2
# Of an image of one colour, or of two side by side. Where it is of one colour all positions of a stage are equal but
# for rounding, which alone ranks them: 1.4e-3 of the score was seen. It widens the band only where it is so near a
# threshold that the error could cross it; decisions must be equal on it as on any other.
MATCHED_FLAT = 1e-2
SAFETY = 2.0  # the band is so many times the largest error measured: other images may have larger ones
LEAST_BAND = 1e-6  # a few roundings of float32
CODES = {"OK": OK, "REVIEW": REVIEW, "NG": NG}
REASONS = ("", "score", "drift")


class Shown(NamedTuple):
    """Of each part its window whose map is compared: its number int [n]; whether it is `of_two_colours`, bool [n]."""

    window: np.ndarray
    flat: np.ndarray


class Trials(NamedTuple):
    """What is compared.

    Attributes:
        names: of the images, for messages.
        inputs: what the graph is given, uint8 [n h w 3].
        expected: what the detector says of them.
        shown: with windows, what is compared by its map.
    """

    names: tuple[str, ...]
    inputs: np.ndarray
    expected: Prediction[np.ndarray]
    shown: Shown | None = None


def tolerance(record: Record, kind: str = "score") -> float:
    """How far a graph may be off: matching amplifies rounding, since nearly equal values swap their ranks."""
    if record.matching == "none":
        return UNMATCHED
    return MATCHED_MAP if kind == "map" else MATCHED


TINY = float(np.finfo(np.float32).tiny)
Outputs = dict[int, dict[str, np.ndarray]]  # by batch size


def run_all(run: Run, inputs: np.ndarray) -> Outputs:
    """What a graph says of images in each batch size."""
    return {size: in_batches(run, inputs, size) for size in BATCHES}


def joined(a: Trials, b: Trials) -> Trials:
    """Both."""
    shown = None if a.shown is None or b.shown is None else Shown(*map(np.concatenate, zip(a.shown, b.shown)))
    return Trials(a.names + b.names, np.concatenate([a.inputs, b.inputs]), together([a.expected, b.expected]), shown)


def joined_outputs(a: Outputs, b: Outputs) -> Outputs:
    """What a graph says of both of two trials."""
    return {size: {name: np.concatenate([values, b[size][name]]) for name, values in a[size].items()} for size in a}


def measure(detector: Detector, outputs: Outputs, trials: Trials) -> tuple[dict[str, float], Band]:
    """Compares a graph's numbers with the detector's.

    Errors are relative to the detector's number; where that is below `MATCHED_FLAT` of the lowest threshold, to this
    threshold: an image in the bank has a score of nearly 0.

    Returns:
        The largest relative errors of "score", "map" and "drift", and those of score and drift relative to the nearest
        threshold (0 without one). An image `of_two_colours` counts for the latter only where its expected value is
        within `MATCHED_FLAT` of that threshold.

    Raises:
        ExportError: an error beyond the tolerance, or a number that is not finite; the image is named.
    """
    found: dict[str, float] = {}
    near = {"score": 0.0, "drift": 0.0}
    flat = of_two_colours(trials.inputs) if trials.shown is None else trials.shown.flat
    limits = [(kind, value) for _, kind, value in thresholds(detector)]
    for size, got in outputs.items():
        for kind, expected in zip(Prediction._fields, trials.expected, strict=True):
            if expected is None:
                continue
            allowed = np.full(len(flat), tolerance(detector.require_record(), kind))
            if allowed[0] > UNMATCHED:
                allowed[flat] = max(MATCHED_FLAT, allowed[0])
            a, b = (np.asarray(x, np.float64).reshape(len(trials.names), -1) for x in (got[kind], expected))
            off = np.abs(a - b).max(1)
            largest = np.abs(b).max(1)
            decides = "drift" if kind == "drift" else "score"
            least = min((abs(value) for k, value in limits if k == decides), default=0)
            relative = off / np.maximum(np.where(largest < MATCHED_FLAT * least, least, largest), TINY)
            for i in np.flatnonzero(~(relative <= allowed))[:1]:
                raise ExportError(
                    f"{trials.names[i]}: {kind} of the graph is off by {relative[i]:.2g} in a batch of {size}, "
                    f"expected {allowed[i]:g} or less"
                )
            found[kind] = max(found.get(kind, 0.0), float(relative.max()))
            for value in [value for k, value in limits if k == kind]:
                nearby = np.abs(b[:, 0] - value) <= MATCHED_FLAT * np.maximum(np.abs(b[:, 0]), abs(value))
                error = float(off.max(initial=0.0, where=~flat | nearby))
                near[kind] = max(near[kind], error / max(abs(value), TINY))
    return found, Band(**near)


def make_band(measured: Band) -> Band:
    """How near a threshold the graph is to answer REVIEW, from the errors measured."""
    return Band(*(max(SAFETY * error, LEAST_BAND) for error in measured))


def check_decisions(detector: Detector, outputs: Outputs, trials: Trials, where: Bounds, band: Band) -> int:
    """Compares a graph's decisions, reasons and p-values with the detector's.

    Returns:
        How many answers the band turned into REVIEW.

    Raises:
        ExportError: naming the image: a graph that decides other than its own numbers say, or than the detector where
            these are outside the band.
    """
    record, turned = detector.require_record(), 0
    says = record.decide(trials.expected)
    decision = np.array([CODES[said.decision] for said in says])
    reason = np.array([REASONS.index(said.reason) for said in says])
    for size, got in outputs.items():
        for kind, wanted in zip(("decision", "reason"), decided(got["score"], got.get("drift"), where), strict=True):
            _equal(trials, size, kind, got[kind], wanted, np.ones(len(wanted), bool))
        outside = _outside(detector, got, band)
        _equal(trials, size, "decision", got["decision"], decision, outside)
        _equal(trials, size, "reason", got["reason"], reason, outside)
        lenient = ~outside & (got["decision"] == OK)
        _equal(trials, size, "decision inside the band", got["decision"], np.full(len(says), REVIEW), lenient)
        turned += int((got["decision"] != decision).sum())
        _check_p_values(trials, size, got, record)
    return turned


def check_measured(detector: Detector, outputs: Outputs, measured: Outputs) -> None:
    """Raises ExportError unless scores and drift are those that set the thresholds, within `LEAST_BAND`.

    Relative to the number or the nearest threshold, whichever is larger: an image in the bank has a score of nearly 0.
    """
    for kind in ("score", "drift"):
        limits = [abs(limit.value) for limit in thresholds(detector) if limit.kind == kind]
        least = min(limits, default=float(np.finfo(np.float32).tiny))
        for size, got in outputs.items():
            if kind not in got:
                continue
            a, b = (np.asarray(x[kind], np.float64) for x in (got, measured[size]))
            for i in np.flatnonzero(~(np.abs(a - b) <= LEAST_BAND * np.maximum(np.abs(b), least)))[:1]:
                raise ExportError(
                    f"int8: image {i}: {kind} of the model to be written is {a[i]:.8g} in a batch of {size}, expected "
                    f"{b[i]:.8g} as in the model that set the thresholds"
                )


def _outside(detector: Detector, got: dict[str, np.ndarray], band: Band) -> np.ndarray:
    """Where the graph's own numbers are outside all bands: bool [n]."""
    away = [np.abs(got[t.kind] - t.value) > getattr(band, t.kind) * abs(t.value) for t in thresholds(detector)]
    return np.all(away, axis=0)


def _check_p_values(trials: Trials, size: int, got: dict[str, np.ndarray], record: Record) -> None:
    for name, kind in (("p_value", "score"), ("drift_p_value", "drift")):
        if name not in got:
            continue
        calibration, values = getattr(record.calibration, kind), np.asarray(got[kind])
        exact = p_counts(calibration, values) / (len(calibration) + 1)
        wrong = np.abs(got[name] - exact) > 1e-6
        for i in np.flatnonzero(wrong)[:1]:
            raise ExportError(
                f"{trials.names[i]}: {name} in a batch of {size}: got {got[name][i]}, expected {exact[i]}"
            )


def _equal(trials: Trials, size: int, what: str, got: np.ndarray, expected: np.ndarray, where: np.ndarray) -> None:
    for i in np.flatnonzero((got != expected) & where)[:1]:
        raise ExportError(f"{trials.names[i]}: {what} in a batch of {size}: got {got[i]}, expected {expected[i]}")
