"""How many epochs fit into a time, from the first steps of the very program that will train."""

import math
import time

import jax
import numpy as np
from ml_collections import ConfigDict

from gnl_jax.methods.build import build_method, matmul_precision
from gnl_jax.training.dispatch import make_dispatch

_TIMED = 2  # steps, after one that compiles


def epochs_within(config: ConfigDict, images: np.ndarray, *, minutes: float) -> tuple[int, float]:
    """(epochs that fit into the minutes, at least one; seconds of a step) over images uint8 [n s s 3].

    Takes the time of one compilation, which the disk keeps for training, and three steps; nothing of it is trained.
    """
    if not minutes > 0:
        raise ValueError(f"time budget: got {minutes} minutes, expected more than 0")
    method = build_method(config)
    phase, key = method.phases[0], jax.random.key(config.seed)
    rows = np.arange(phase.batch_size) % len(images)
    batch = (images[rows][None], np.ones((1, phase.batch_size), bool))
    with jax.default_matmul_precision(matmul_precision(config)):
        state, dispatch, seconds = phase.init(key, None, None), make_dispatch(phase.step), []
        for _ in range(1 + _TIMED):
            begun = time.perf_counter()
            state, metrics = dispatch(key, state, method.frozen, *batch)
            jax.block_until_ready(metrics)
            seconds.append(time.perf_counter() - begun)
    step = min(seconds[1:])
    steps = math.ceil(len(images) / phase.batch_size)
    return max(1, int(60 * minutes / (step * steps))), step
