"""How far an image's feature distributions are from those trained on, whatever is in the picture where.

A change of light moves the whole distribution of a channel's values; a defect moves its extreme ranks. So the sorted
values are compared rank by rank, the outermost 5 % on either side left out.
"""

import math

import jax
import jax.numpy as jnp

from gnl_jax.ops.matching import sort_features

LOWEST, HIGHEST = 0.05, 0.95  # fractions of the ranks between which distributions are compared
LEAST_SPREAD = 1e-3  # of the channels' mean spread: below it a channel hardly varies and would decide alone


def middle_ranks(features: jax.Array) -> jax.Array:
    """Per-channel ascending values without the outermost ranks: features [*b h w c] -> [*b m c]."""
    n = features.shape[-3] * features.shape[-2]
    return sort_features(features)[..., math.floor(LOWEST * n) : math.ceil(HIGHEST * n), :]


def channel_deviation(ranks: jax.Array, barycentre: jax.Array) -> jax.Array:
    """Mean over ranks of |ranks - barycentre|: [*b m c], [m c] -> [*b c], the 1-Wasserstein distance per channel."""
    barycentre = jnp.expand_dims(barycentre, range(ranks.ndim - 2))
    return jnp.mean(jnp.abs(ranks - barycentre), axis=-2)


def drift_score(deviations, spreads) -> jax.Array:
    """Mean over stages and channels of deviation / spread: sequences of [b c_k] and [c_k] -> [b].

    A channel's spread is the mean deviation of the images trained on, so their own drift is 1 on average.
    """
    total: jax.Array | float = 0.0
    for deviation, spread in zip(deviations, spreads, strict=True):
        least = LEAST_SPREAD * jnp.mean(spread) + 1e-12
        total = total + jnp.mean(deviation / jnp.maximum(spread, least)[None], axis=-1)
    return jnp.asarray(total / len(spreads))
