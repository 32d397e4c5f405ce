"""Writes a detector as an ONNX model, but only after it was shown to be equal to the detector."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gnl_jax.deploy.onnx.check import (
    BATCHES,
    Outputs,
    Trials,
    check_decisions,
    joined,
    joined_outputs,
    make_band,
    measure,
    run_all,
)
from gnl_jax.deploy.onnx.decision import EXACT, Band, bounds
from gnl_jax.deploy.onnx.inline import shipped_source
from gnl_jax.deploy.onnx.model import TARGETS, check_exportable, make_graph
from gnl_jax.deploy.onnx.part_check import expected_of_parts, outputs_of_parts
from gnl_jax.deploy.onnx.run import RUNS, Run
from gnl_jax.deploy.onnx.runtime import manifest_bytes
from gnl_jax.deploy.onnx.serialise import OPSET, serialise
from gnl_jax.deploy.trials import NEAR, hard, near, squares, three_sizes, thresholds
from gnl_jax.detection.detector import Detector
from gnl_jax.files import write_atomic
from gnl_jax.progress import progress_bar
from gnl_jax.version import __version__

RUNTIME = "gnl_onnx.py"


class Exported(NamedTuple):
    """What was written and measured.

    Attributes:
        errors: the largest relative errors of "score", "map" and, if it is measured, "drift".
        band: how near a threshold, relative to it, the model answers REVIEW.
        images: how many images were compared.
        paths: model, manifest and runtime.
    """

    errors: dict[str, float]
    band: Band
    images: int
    paths: tuple[Path, Path, Path]


def export_onnx(
    detector: Detector,
    path: str | os.PathLike,
    *,
    images: Sequence[np.ndarray],
    names: Sequence[str] = (),
    input_size: tuple[int, int] | None = None,
    target: str = "onnxruntime",
    parent: str = "",
) -> Exported:
    """Writes a calibrated detector as an ONNX model, its manifest, and `gnl_onnx.py`, which runs it.

    The model is run by onnxruntime (or OpenVINO, if that is the target) and compared with the detector on the images,
    on constant, two-valued, noisy and blanked ones, and on images near each threshold, in batches of 1, 2 and 8. A
    model of a detector with windows takes windows of one part, all or some of them (`part_so_far`), and is compared
    on whole parts, 1, 2 and 8 windows a call.

    Args:
        detector: a calibrated one.
        path: of the model; the manifest is beside it as PATH.json.
        images: good images uint8 [h w 3] in their native sizes.
        names: of the images, for messages.
        input_size: (height, width) of images that the model resizes itself, with windows that of a window; None: it
            takes squares.
        target: "onnxruntime", "openvino" or "tensorrt": whose peculiarities the graph avoids.
        parent: SHA-256 of the detector's file.

    Raises:
        ExportError: the model differs from the detector; the image is named and nothing is written.
        ValueError: a detector that a graph cannot hold, or images or a target that cannot be used.
        OSError: naming the file.
    """
    if target not in TARGETS:
        raise ValueError(f"target: got {target!r}, expected one of {', '.join(TARGETS)}")
    if not len(images):
        raise ValueError("images: got none, expected good images to check the model on")
    check_exportable(detector)
    check_windows(detector, input_size)
    if detector.grid is None:
        check_shapes(images, input_size)
    good = [np.asarray(image) for image in images]
    names = list(names) or [f"image {i}" for i in range(len(good))]
    limits = thresholds(detector)
    with progress_bar("checking the export", 2 + 2 * len(limits)) as advance:
        as_they_are = detector.grid is not None or input_size is not None
        pictures = _pictures(good if as_they_are else three_sizes(good), names, good[0])
        for limit in limits:
            pictures += [(f"near {limit.decision} by {limit.kind}", image) for image in near(detector, good, limit)]
            advance(1)
        trials = _trials(detector, pictures, input_size)
        run = RUNS[target](serialise(make_graph(detector, band=EXACT, input_size=input_size, target=target), {}))
        outputs = _outputs(detector, run, trials, input_size)
        band = make_band(measure(detector, outputs, trials)[1])
        advance(1)
        farther = []
        for limit in limits:  # outside the band, where all decisions must be equal
            least = 1.5 * getattr(band, limit.kind)
            found = near(detector, good, limit, least=least, most=max(10 * least, NEAR))
            farther += [(f"near {limit.decision} by {limit.kind}, outside the band", image) for image in found]
            advance(1)
        others = _trials(detector, farther, input_size)
        trials, outputs = joined(trials, others), joined_outputs(outputs, _outputs(detector, run, others, input_size))
        errors, measured = measure(detector, outputs, trials)
        band = make_band(measured)
        about = metadata(detector, band=band, errors=errors, parent=parent, input_size=input_size, target=target)
        data = serialise(make_graph(detector, band=band, input_size=input_size, target=target), about)
        outputs = _outputs(detector, RUNS[target](data), trials, input_size)
        measure(detector, outputs, trials)
        check_decisions(detector, outputs, trials, bounds(detector.require_record(), band), band)
        advance(1)
    return Exported(errors, band, len(trials.names), write_model(Path(path), data, about))


def metadata(
    detector: Detector, *, band: Band, errors: Mapping[str, float], input_size, target: str, parent: str
) -> dict[str, Any]:
    """What the model says of itself: preprocessing, rates, thresholds, versions, and what it was made from."""
    import onnx

    record = detector.require_record()
    manifest, calibration = record.manifest, record.calibration
    drift = [t.value for t in thresholds(detector) if t.kind == "drift"]
    ng, review = record.thresholds
    return {
        "kind": "onnx",
        "schema": 1,
        "target": target,
        "opset": OPSET,
        "input": {"layout": "NHWC", "dtype": "uint8", "colour": "RGB", "size": list(input_size or [detector.size] * 2)},
        "resizes": input_size is not None,
        "image": manifest["image"],
        "normalise": record.config.method.normalise,
        "decisions": ["OK", "REVIEW", "NG"],
        "reasons": ["", "score", "drift"],
        "rules": manifest["rules"],
        "thresholds": {"ng": ng, "review": review, "drift": drift[0] if drift else None},
        "calibration": {"score": len(calibration.score), "drift": len(calibration.drift)},
        "band": band._asdict(),
        "errors": dict(errors),
        "matching": record.matching,
        "arch": record.config.teacher.arch,
        "versions": {"gnl_jax": __version__, "onnx": onnx.__version__, **_runtime_version(target)},
        "parent": {"sha256": parent, "made": manifest.get("made")},
    }


def _runtime_version(target: str) -> dict[str, str]:
    """The version of what decided that the model is equal."""
    if target == "openvino":
        import openvino

        return {"openvino": openvino.__version__}
    import onnxruntime

    return {"onnxruntime": onnxruntime.__version__}


def check_windows(detector: Detector, input_size: tuple[int, int] | None) -> None:
    """Raises ValueError for an input size other than that of the detector's windows."""
    if detector.grid is not None and input_size is not None and tuple(input_size) != detector.grid.window:
        got, wanted = ("x".join(map(str, sides)) for sides in (input_size, detector.grid.window))
        raise ValueError(f"input_size: got {got} with windows, expected {wanted}: the model resizes windows")


def check_shapes(images: Sequence[np.ndarray], input_size: tuple[int, int] | None) -> None:
    """Raises ValueError for an image of another size than the model is to take."""
    for image in images:
        if input_size is not None and np.shape(image)[:2] != tuple(input_size):
            height, width = np.shape(image)[:2]
            raise ValueError(f"images: got {height}x{width}, expected {'x'.join(map(str, input_size))}: input_size")


def _pictures(images: list[np.ndarray], names: list[str], one: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """Names and images: those given and the hard ones, which are of the size of `one`."""
    named = [(names[i % len(names)], image) for i, image in enumerate(images)]
    return named + list(hard(one).items())


def _trials(detector: Detector, pictures: list[tuple[str, np.ndarray]], input_size) -> Trials:
    names, images = zip(*pictures, strict=True)
    seen = squares(detector, images)
    if detector.grid is not None:
        expected, shown = expected_of_parts(detector, seen, detector.grid)
        return Trials(names, seen, expected, shown)
    return Trials(names, seen if input_size is None else np.stack(images), detector(seen))


def _outputs(detector: Detector, run: Run, trials: Trials, input_size) -> Outputs:
    """What a model says in batches of each size; with windows the batches are of a part's windows."""
    if (grid := detector.grid) is None or trials.shown is None:
        return run_all(run, trials.inputs)
    resizes = input_size is not None
    return {
        size: outputs_of_parts(run, trials.inputs, trials.shown.window, grid, resizes=resizes, at_once=size)
        for size in BATCHES
    }


def write_model(path: Path, data: bytes, about: Mapping[str, Any]) -> tuple[Path, Path, Path]:
    """Runtime and manifest before the model: until that is there, `gnl_onnx.py` refuses what is."""
    manifest, runtime = path.with_name(path.name + ".json"), path.with_name(RUNTIME)
    whole = {**about, "model": {"file": path.name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}}
    write_atomic(runtime, shipped_source())
    write_atomic(manifest, manifest_bytes(json.loads(json.dumps(whole))))
    write_atomic(path, data)
    return path, manifest, runtime
