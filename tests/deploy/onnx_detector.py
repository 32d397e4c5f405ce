"""A matched detector that was never trained, for all tests of its ONNX model, and images like those it has seen."""

import dataclasses
import functools

import numpy as np
from run_folders import small_architecture
from untrained import config, untrained

from gnl_jax.deploy.trials import disturbed, squares
from gnl_jax.detection.artifact import use_matching
from gnl_jax.detection.record import Calibration
from gnl_jax.images.resize import resize

SIZE = 32
SHAPES = [(40, 48), (33, 61), (64, 32)]


def good_images(n, *, seed, shapes=SHAPES):
    """Smooth images, a little different from each other: uint8 [h w 3]."""
    rng = np.random.default_rng(seed)
    base = np.random.default_rng(7).integers(60, 196, (4, 4, 3))
    images = []
    for i in range(n):
        h, w = shapes[i % len(shapes)]
        cells = np.clip(base + rng.normal(0, 12, base.shape), 0, 255).astype(np.uint8)
        images.append(resize(np.kron(cells, np.ones((16, 16, 1), np.uint8)), 64)[:h, :w])
    return images


@functools.cache
def matched(arch="resnet10"):
    """EFDM to two references, with a region and drift; by default of the network of conftest.py's `small_network`."""
    images = np.stack([resize(image, SIZE) for image in good_images(28, seed=1)])
    region = np.ones((SIZE, SIZE), bool)
    region[:5] = False
    with small_architecture():
        detector = untrained(images, config(arch=arch, anchor="random", k=2), learn=9, region=region)
        return between(detector, good_images(3, seed=2))


def with_calibrations(detector, calibrations):
    return dataclasses.replace(
        detector, record=dataclasses.replace(detector.require_record(), calibrations=calibrations)
    )


def between(detector, good):
    """The detector with thresholds between what it says of a good image and of the same with a disturbed patch."""
    calibrations = {}
    for kind in ("efdm", "none"):
        scores = use_matching(detector, kind)
        seen = scores(squares(detector, good))
        spread = {}
        for name in ("score", "drift"):
            low = getattr(seen, name)
            high = getattr(scores(squares(detector, disturbed(good[int(low.argmin())]))), name).max()
            assert high > low.min()
            spread[name] = np.linspace(low.min(), high, 22)[1:-2].astype(np.float32)
        calibrations[kind] = Calibration(**spread)
    return with_calibrations(detector, calibrations)
