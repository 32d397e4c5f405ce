"""A memory bank small enough to build in milliseconds: a network of three convolutions on 32 pixels."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gnl_jax.config import default_config
from gnl_jax.detection.detector import Detector
from gnl_jax.detection.fit import fit
from gnl_jax.detection.options import FitOptions
from gnl_jax.methods.bank_method import bank_method
from gnl_jax.methods.bank_options import BankOptions
from gnl_jax.methods.base import Method
from gnl_jax.methods.scoring import Scoring


class TinyTeacher(nn.Module):
    """Three stages with the teacher's strides and hook, and next to nothing to compile."""

    @nn.compact
    def __call__(self, x, match=None):
        stages = []
        for k, stride in ((1, 4), (2, 2), (3, 2)):
            x = nn.relu(nn.Conv(4 * k, (stride, stride), strides=stride)(x))
            if match is not None and k < 3:
                x = match(k, x)
            stages.append(x)
        return tuple(stages)


def make_method(matching: str = "efdm", **options) -> Method:
    """A memory bank on a random `TinyTeacher`, matched to the barycentre; `options` of the bank."""
    teacher = TinyTeacher()
    variables = teacher.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    scoring = Scoring(matching, anchor="barycentre")
    return bank_method(teacher, variables, options=BankOptions(**options), scoring=scoring)


def config():
    """One image at a time would only take longer."""
    config = default_config()
    config.teacher.weights, config.dataset.size, config.eval.batch_size = "random", 32, 16
    config.dataset.cache = ""
    return config


def images(n: int, *, seed: int = 0) -> np.ndarray:
    """Images of stripes with noise, each of its own strength, uint8 [n 32 32 3]."""
    rng = np.random.default_rng(seed)
    stripes = 100 + 50 * np.sin(np.arange(32))[None, :, None, None] * rng.uniform(0.5, 1, (n, 1, 1, 1))
    return np.clip(stripes + rng.normal(0, 12, (n, 32, 32, 3)), 0, 255).astype(np.uint8)


def fit_bank(good, method: Method, **options) -> tuple[Detector, list[str]]:
    """(the detector, what was said)."""
    said = []
    return fit(good, config(), options=FitOptions(**options), method=method, say=said.append), said


@functools.cache
def fitted(coreset: str = "k_center") -> Detector:
    """40 images: 21 in a bank of 63 rows, 19 that calibrate."""
    method = make_method(rows=63, coreset=coreset)
    return fit_bank(images(40), method)[0]
