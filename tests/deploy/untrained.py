"""Calibrated detectors whose student was never trained: quick to make, and good enough to compare numbers with."""

from fractions import Fraction

import jax
import numpy as np

from gnl_jax.config import default_config, set_method
from gnl_jax.config_io import plain_config
from gnl_jax.detection.artifact import build_detector
from gnl_jax.detection.calibrate import calibrated, matching_methods, scoring_variables
from gnl_jax.detection.detector import Detector
from gnl_jax.detection.parts import good_images
from gnl_jax.detection.record import Record, rule_record
from gnl_jax.detection.threshold import make_rule
from gnl_jax.methods.build import build_method, matmul_precision


def config(
    *,
    method="gnl",
    arch="resnet18",
    size=32,
    matching="efdm",
    anchor="barycentre",
    k=1,
    weights="random",
    batch_size=4,
):
    """Of such a detector."""
    config = set_method(default_config(), method)
    config.teacher.arch, config.teacher.weights = arch, weights
    config.dataset.name, config.dataset.normal, config.dataset.cache, config.dataset.size = "folder", "", "", size
    config.eval.batch_size, config.eval.anchor, config.eval.anchors = batch_size, anchor, k
    config.eval.matching = (matching,)
    return config


def untrained(images: np.ndarray, config, *, learn: int, region=None, rates=(1, 3, 2)) -> Detector:
    """A detector of good images uint8 [n s s 3], of which the first `learn` are learned from and the others calibrate.

    rates: k of the rules for NG (0: none), REVIEW and drift (0: none).
    """
    method = build_method(config)
    state = None  # a memory bank is not trained
    if method.phases:
        state = jax.jit(lambda key: method.phases[0].init(key, None, None))(jax.random.key(1))
    methods = matching_methods(config, method)
    shared, matchings = scoring_variables(methods, state, images[:learn], precision=matmul_precision(config))
    if region is not None:
        shared["region"] = jax.numpy.asarray(region)
    n = len(images) - learn
    rules = [rule_record(make_rule(Fraction(k, n + 1), n)) if k else None for k in rates]
    image = {name: plain_config(config)["dataset"][name] for name in ("size", "resize", "filter", "white", "alpha")}
    manifest = {
        "config": plain_config(config),
        "matching": next(iter(methods)),
        "batch_size": config.eval.batch_size,
        "image": image,
        "rules": dict(zip(("ng", "review", "drift"), rules, strict=True)),
        "data": {"fit": [], "calibration": [], "group_by": "", "student": "", "region": None, "excluded": []},
        "made": {"versions": {"gnl_jax": "0"}},
        "parent": None,
    }
    detector = build_detector(shared, Record(manifest, matchings, {}))
    return calibrated(detector, good_images(images[learn:], config.dataset))
