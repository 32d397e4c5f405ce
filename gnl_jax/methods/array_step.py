"""A training step as a function of arrays alone."""

from collections.abc import Callable, Mapping
from typing import Any

import optax

from gnl_jax.array_types import Array
from gnl_jax.methods.losses import GNL_WEIGHTS, Loss, LossWeights
from gnl_jax.methods.reverse_distillation import Model, TrainState, train_step

PyTree = Any


def make_train_step(
    *,
    model: Model,
    tx: optax.GradientTransformation,
    teacher: PyTree,
    make_views: Callable[..., Array],
    losses: Mapping[str, Loss] | None = None,
    loss_weights: LossWeights | Mapping[str, float] = GNL_WEIGHTS,
) -> Callable[[Array, TrainState, Array, Array], tuple[TrainState, dict[str, Array]]]:
    """A training step as a function of arrays alone: `(key, state, images, valid) -> (state, metrics)`.

    `jax.jit`, `vmap`, `lax.scan` and `grad` take it as it is. Arguments as for `train_step`.
    """

    def step(key, state, images, valid):
        return train_step(
            key,
            state,
            images,
            valid,
            model=model,
            tx=tx,
            teacher=teacher,
            make_views=make_views,
            losses=losses,
            loss_weights=loss_weights,
        )

    return step
