"""What scoring needs beside the weights, and what good parts score: by matching, from nothing but good images."""

import dataclasses
import datetime
import platform
from collections.abc import Mapping
from typing import Any

import jax
import jaxlib
import numpy as np
from ml_collections import ConfigDict

from gnl_jax.batches import ImageSource
from gnl_jax.detection.artifact import probe, use_matching
from gnl_jax.detection.detector import Detector, predict
from gnl_jax.detection.parts import GoodImages, largest_by_part
from gnl_jax.detection.record import Calibration
from gnl_jax.methods.base import Method
from gnl_jax.methods.build import build_method
from gnl_jax.progress import progress_bar
from gnl_jax.version import __version__

PyTree = Any


def one_matching(config: ConfigDict) -> str:
    """The matching that decides: the last one of `eval.matching`, which for "gnl" is "efdm"."""
    kinds = config.eval.matching
    return kinds if isinstance(kinds, str) else kinds[-1]


def matching_methods(config: ConfigDict, trained: Method, *, own_method: bool = False) -> dict[str, Method]:
    """A method for each matching of a detector: that of the configuration first, and "none" for comparison."""
    if own_method:
        return {"none": trained}
    kinds = dict.fromkeys((one_matching(config), "none"))
    return {kind: build_method(config, matching=kind, frozen=trained.frozen) for kind in kinds}


def scoring_variables(
    methods: Mapping[str, Method], state: PyTree, images: ImageSource, *, precision: str
) -> tuple[PyTree, dict[str, PyTree]]:
    """From a trained state and the images it saw: the variables all matchings share, and those of each matching.

    Args:
        methods: a method for each matching; they share what training left.
        state: of the last phase, None without one.
        images: uint8 [n s s 3] as trained on.
        precision: JAX's setting for products of float32 arrays.
    """
    matchings, shared = {}, {}
    with jax.default_matmul_precision(precision):
        for kind, method in methods.items():
            variables = dict(method.finish(method.frozen, state, images))
            # Banks measured it as they were made, unless one image is all there is.
            if not {"drift", "banks"} & variables.keys() and method.make_drift is not None:
                variables["drift"] = method.make_drift(variables, images)
            matchings[kind] = {name: variables.pop(name) for name in (*method.own, "drift") if name in variables}
            shared = variables
    return shared, matchings


def calibrated(detector: Detector, good: GoodImages, *, drift: GoodImages | None = None) -> Detector:
    """The detector with what the calibration images score, for each of its matchings, and a fresh probe.

    Only these images touch its thresholds and p-values. `drift`: those that calibrate drift, if not all.
    """
    calibrations = {}
    kept = np.ones(len(good.names), bool) if drift is None else np.isin(good.hashes, drift.hashes)
    parts = [part for part, keep in zip(good.parts, kept) if keep]
    with progress_bar("calibration", len(detector.require_record().matchings) * len(good.images)) as advance:
        for kind in detector.require_record().matchings:
            prediction = predict(use_matching(detector, kind), good.images, maps=False, advance=advance)
            no_drift = np.zeros(0, np.float32)
            drifts = no_drift if prediction.drift is None else largest_by_part(prediction.drift[kept], parts)
            calibrations[kind] = Calibration(largest_by_part(prediction.score, good.parts), drifts)
    manifest = {**detector.require_record().manifest, "probe": probe(detector)}
    record = dataclasses.replace(detector.require_record(), manifest=manifest, calibrations=calibrations)
    return dataclasses.replace(detector, record=record)


def provenance() -> dict[str, Any]:
    """When, with what and on what something was made."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": jax.devices()[0].device_kind,
        "versions": {
            "gnl_jax": __version__,
            "jax": jax.__version__,
            "jaxlib": jaxlib.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
