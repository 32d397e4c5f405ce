"""The compiled call of training: one or several steps, state donated."""

import functools
from collections.abc import Callable
from typing import Any

import jax


def steps_per_dispatch(setting: int) -> int:
    """Optimiser steps per compiled call; a setting of 0 chooses.

    It chooses 1 on CPU, where a loop around convolutions leaves XLA's fast path (6 times slower), and 10 elsewhere, so
    that a call stays well under five seconds: progress, Ctrl-C, checkpoints and the check for NaN fall between calls.
    """
    if setting < 0:
        raise ValueError(f"train.steps_per_dispatch: got {setting}, expected 0 or more")
    return setting or (1 if jax.default_backend() == "cpu" else 10)


def make_dispatch(step: Callable, *, placement: Any = None) -> jax.stages.Wrapped:
    """`dispatch(key, state, frozen, images [g b ...], valid [g b], features) -> (state, metrics [g])`, jitted.

    The state is donated; features are None or a pytree of [g b ...]. `placement`: of (state, metrics), if JAX shall
    not choose it.
    """

    @functools.partial(jax.jit, donate_argnames="state", out_shardings=placement)
    def dispatch(key, state, frozen, images, valid, features=None):
        def body(state, batch):
            return step(key, state, frozen, *batch)

        batches = (images, valid, features)
        if images.shape[0] == 1:
            state, metrics = body(state, jax.tree.map(lambda x: x[0], batches))
            return state, jax.tree.map(lambda m: m[None], metrics)
        return jax.lax.scan(body, state, batches)

    return dispatch
