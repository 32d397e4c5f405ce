"""What scoring needs beside the weights, and what good parts score: by matching, from nothing but good images."""

import dataclasses
import datetime
import functools
import platform
from typing import Any

import jax
import jaxlib
import numpy as np
from ml_collections import ConfigDict

from gnl_jax.detection.artifact import probe, use_matching
from gnl_jax.detection.detector import Detector, predict
from gnl_jax.detection.parts import GoodImages, largest_by_part
from gnl_jax.detection.record import Calibration
from gnl_jax.images.views import normalise
from gnl_jax.methods.build import build_method, matmul_precision
from gnl_jax.methods.choices import PRECISIONS
from gnl_jax.methods.drift import make_drift
from gnl_jax.methods.reverse_distillation import Model
from gnl_jax.progress import progress_bar
from gnl_jax.training.loop import Trained
from gnl_jax.version import __version__

PyTree = Any


def one_matching(config: ConfigDict) -> str:
    """The matching that decides: the last one of `eval.matching`, which for "gnl" is "efdm"."""
    kinds = config.eval.matching
    return kinds if isinstance(kinds, str) else kinds[-1]


def scoring_variables(
    config: ConfigDict, trained: Trained, images: np.ndarray, region: np.ndarray | None
) -> tuple[PyTree, dict[str, PyTree]]:
    """From a trained run and the images it saw: the variables all matchings share, and those of each matching.

    images: uint8 [n s s 3] as trained on; region: bool [s s] or None. The matchings are that of the configuration and
    "none", for comparison.
    """
    frozen, matchings = trained.method.frozen, {}
    for kind in dict.fromkeys((one_matching(config), "none")):
        with jax.default_matmul_precision(matmul_precision(config)):
            variables = build_method(config, matching=kind, frozen=frozen).finish(frozen, trained.state, images)
        extras = {name: variables[name] for name in ("references", "alpha") if name in variables}
        matchings[kind] = {**extras, "drift": drift_reference(config, frozen, kind, extras, images)}
    networks = {"teacher": frozen, "student": variables["student"]}
    return networks if region is None else {**networks, "region": jax.numpy.asarray(region)}, matchings


def drift_reference(config: ConfigDict, frozen: PyTree, matching: str, extras: PyTree, images: np.ndarray) -> PyTree:
    """`make_drift` of images uint8 [n s s 3] for a matching with these variables of its own."""
    dtype, precision = PRECISIONS[config.precision]
    with jax.default_matmul_precision(precision):
        return make_drift(
            frozen,
            images,
            model=Model.create(config.teacher.arch, dtype),
            preprocess=functools.partial(normalise, kind=config.method.normalise),
            matching=matching,
            **{name: extras[name] for name in ("references", "alpha") if name in extras},
        )


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
            calibrations[kind] = Calibration(
                largest_by_part(prediction.score, good.parts), largest_by_part(prediction.drift[kept], parts)
            )
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
