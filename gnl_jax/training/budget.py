"""How many epochs fit into a time, from the first steps of the program that will train."""

import math
import time

import jax
import numpy as np
from ml_collections import ConfigDict

from gnl_jax.batches import ImageSource
from gnl_jax.methods.build import build_method, matmul_precision
from gnl_jax.training.dispatch import make_dispatch, steps_per_dispatch
from gnl_jax.training.features import compute_features, with_features

_TIMED = 2  # dispatches, after one that compiles


def epochs_within(config: ConfigDict, images: ImageSource, *, minutes: float) -> tuple[int, float]:
    """(epochs that fit into the minutes, 0 if none does; seconds of an epoch) over images uint8 [n s s 3].

    Takes the time of one compilation, which the disk keeps for training, and three dispatches on one batch; nothing of
    it is trained. What is computed once for each image counts as one epoch's teacher.
    """
    if not minutes > 0:
        raise ValueError(f"time budget: got {minutes} minutes, expected more than 0")
    method = build_method(config)
    phase, key = method.phases[0], jax.random.key(config.seed)
    group = steps_per_dispatch(config.train.steps_per_dispatch)
    rows = np.tile(np.arange(phase.batch_size) % len(images), (group, 1))
    with jax.default_matmul_precision(matmul_precision(config)):
        few = images[np.arange(min(phase.batch_size, len(images)))]
        features = compute_features(phase, method.frozen, few, budget_mb=config.train.feature_budget_mb)
        shown = images[rows.ravel()].reshape(*rows.shape, *few.shape[1:])
        ((_, *batch),) = with_features(iter([(rows, shown, np.ones(rows.shape, bool))]), features)
        state, dispatch, seconds = phase.init(key, None, None), make_dispatch(phase.step), []
        for _ in range(1 + _TIMED):
            begun = time.perf_counter()
            state, metrics = dispatch(key, state, method.frozen, *batch)
            jax.block_until_ready(metrics)
            seconds.append(time.perf_counter() - begun)
    epoch = min(seconds[1:]) / group * math.ceil(len(images) / phase.batch_size)
    return int(60 * minutes / epoch), epoch
