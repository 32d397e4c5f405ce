"""The three losses of generalized normality learning, one value per example (Eq. 1 to 3)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from gnl_jax.ops.cosine import cosine_distance


class LossWeights(NamedTuple):
    """lambda of Eq. 3. Published: 0.9, 0.05, 0.05."""

    ori: float = 0.9
    abs: float = 0.05
    lowf: float = 0.05


def reconstruction_loss(teacher, student) -> jax.Array:
    """L_ori: sum over levels of the cosine distance between whole feature maps E_k, D_k [b h_k w_k c_k] -> [b].

    A sample's map is one vector here; only the score compares position by position.
    """
    return sum(cosine_distance(e, d) for e, d in zip(teacher, student, strict=True))


def similarity_loss(features: jax.Array, *, reduction: str) -> jax.Array:
    """Distance of view 0 to every other view, features [v b ...] -> [b]; zero where there is one view.

    Gradients flow to both sides. Eq. 1 and 2 average over the v-1 other views (`reduction` "mean");
    Published code: sums over them ("sum").
    """
    if reduction not in ("sum", "mean"):
        raise ValueError(f"reduction: got {reduction!r}, expected 'sum' or 'mean'")
    others = features.shape[0] - 1
    if others == 0:
        return jnp.zeros(features.shape[1], jnp.promote_types(features.dtype, jnp.float32))
    distances = jax.vmap(cosine_distance, in_axes=(None, 0))(features[0], features[1:])
    return distances.sum(axis=0) / (others if reduction == "mean" else 1)


def masked_mean(values: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean of values [b] over the valid rows, bool [b]; 0 if there are none."""
    return jnp.sum(jnp.where(valid, values, 0)) / jnp.maximum(jnp.sum(valid), 1)
