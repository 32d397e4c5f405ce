"""A memory bank on a teacher of two convolutions, small enough to be computed again in NumPy."""

import functools

import flax.linen as nn
import jax
import numpy as np

from gnl_jax.methods.bank_method import bank_method
from gnl_jax.methods.bank_options import BankOptions
from gnl_jax.methods.base import Prediction
from gnl_jax.methods.scoring import Scoring


class TinyTeacher(nn.Module):
    """Stages of a quarter, an eighth and a sixteenth of the images' side, with 4, 6 and 6 channels."""

    @nn.compact
    def __call__(self, x, match=None):
        match = match or (lambda stage, features: features)
        first = match(1, nn.relu(nn.Conv(4, (4, 4), (4, 4), "VALID", use_bias=False)(x)))
        second = match(2, nn.relu(nn.Conv(6, (2, 2), (2, 2), "VALID", use_bias=False)(first)))
        return first, second, nn.avg_pool(second, (2, 2), (2, 2))


TEACHER = TinyTeacher()
VARIABLES = jax.jit(TEACHER.init)(jax.random.key(5), np.zeros((1, 32, 32, 3), np.float32))
EVERYTHING = 1e9  # rows: more than there are patches
PLAIN, MATCHED = Scoring(), Scoring("efdm", alpha=0.7, anchor="barycentre")


def preprocess(images):
    return images / np.float32(255)


@functools.cache
def make(options: BankOptions = BankOptions(), scoring: Scoring = PLAIN):
    """The same method for the same options, so that `score` compiles its program once."""
    return bank_method(TEACHER, VARIABLES, options=options, scoring=scoring, preprocess=preprocess)


def fitted(method, images):
    return method.finish(method.frozen, None, images)


def score(method, variables, images, without=None) -> Prediction:
    arguments = (images,) if without is None else (images, np.asarray(without, np.int32))
    program = method.score_batch if without is None else method.score_without
    return Prediction(*(None if a is None else np.asarray(a) for a in jax.jit(program)(variables, *arguments)))


def pictures(n: int, *, seed: int = 0, size: int = 32) -> np.ndarray:
    """One pattern of cells with a little noise: good images, uint8 [n size size 3]."""
    rng = np.random.default_rng(seed)
    cells = np.random.default_rng(99).integers(40, 200, (8, 8, 3))
    pattern = cells.repeat(size // 8, 0).repeat(size // 8, 1)
    return (pattern + rng.integers(-12, 13, (n, size, size, 3))).astype(np.uint8)


def defective(image: np.ndarray) -> np.ndarray:
    """The image with a bright spot of a quarter of its side."""
    image, size = image.copy(), len(image)
    image[size // 2 : size * 3 // 4, size // 4 : size // 2] = (250, 20, 250)
    return image
