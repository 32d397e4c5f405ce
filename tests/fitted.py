"""One small detector of real digits, fitted once for all tests that need one: "0" is good, all else defective."""

import functools
from pathlib import Path

import numpy as np
from PIL import Image

from gnl_jax.config import default_config, set_method
from gnl_jax.data.digits import digits_task
from gnl_jax.detection.fit import fit
from gnl_jax.detection.options import FitOptions

ARCH = "resnet10"  # of conftest.py's `small_network`, a fixture for whoever uses a configuration of this file
N = 60  # good images: 41 to learn from, 19 to calibrate
NATIVE = (40, 48)  # height and width of image files


def config():
    """GNL at 32 pixels with a random teacher."""
    config = default_config()
    config.teacher.update(arch=ARCH, weights="random")
    config.dataset.name, config.dataset.normal, config.dataset.cache = "folder", "", ""
    config.eval.batch_size = 8
    config.eval.anchor = "barycentre"
    return set_method(config, "gnl")


@functools.cache
def digits():
    """(good to fit [60 ...], good to test [40 ...], defective), uint8 [n 32 32 3]."""
    task = digits_task("0", size=32, seed=0, shifts=(), severity=3)
    test = task.load_test("id")
    unseen = np.concatenate([test.images[~test.anomalous], task.train[N:]])
    return task.train[:N], unseen[:40], test.images[test.anomalous]


@functools.cache
def fitted():
    """(the detector, what was said while it was fitted)."""
    said = []
    return fit(digits()[0], config(), options=FitOptions(epochs=4), say=said.append), said


def write_images(folder: Path, images: np.ndarray, *, prefix: str = "") -> list[Path]:
    """Images as PNG files of `NATIVE` size."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{prefix}{i:03}.png" for i in range(len(images))]
    for path, image in zip(paths, images):
        Image.fromarray(image).resize(NATIVE[::-1]).save(path)
    return paths
