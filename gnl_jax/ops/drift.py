"""How far an image's feature distributions are from those trained on, whatever is in the picture where.

A change of light moves the whole distribution of a channel's values; a defect moves its extreme ranks. So the sorted
values are compared rank by rank, the outermost 5 % on either side left out.
"""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Float

from gnl_jax.array_types import Array
from gnl_jax.ops.matching import sort_features

LOWEST, HIGHEST = 0.05, 0.95  # fractions of the ranks between which distributions are compared
LEAST_SPREAD = 1e-3  # of the channels' mean spread: below it a channel hardly varies and would decide alone


def middle_ranks(features: Float[Array, "*b h w c"]) -> Float[Array, "*b m c"]:
    """Per-channel ascending values without the outermost ranks."""
    n = features.shape[-3] * features.shape[-2]
    return sort_features(features)[..., math.floor(LOWEST * n) : math.ceil(HIGHEST * n), :]


def channel_deviation(ranks: Float[Array, "*b m c"], barycentre: Float[Array, "m c"]) -> Float[Array, "*b c"]:
    """Mean over ranks of |ranks - barycentre|, the 1-Wasserstein distance per channel."""
    # Channels first, as they were sorted: nothing is transposed for it.
    ranks, barycentre = jnp.swapaxes(ranks, -1, -2), jnp.expand_dims(barycentre.T, range(ranks.ndim - 2))
    return jnp.mean(jnp.abs(ranks - barycentre), axis=-1)


def drift_score(deviations: Sequence[Float[Array, "b _"]], spreads: Sequence[Float[Array, "_"]]) -> Float[Array, "b"]:
    """Mean over stages and channels of deviation / spread, for stages with channels of their own each.

    A channel's spread is the mean deviation of the images trained on, so their own drift is 1 on average.
    """
    total: Array | float = 0.0
    for deviation, spread in zip(deviations, spreads, strict=True):
        least = LEAST_SPREAD * jnp.mean(spread) + 1e-12
        total = total + jnp.mean(deviation / jnp.maximum(spread, least)[None], axis=-1)
    return jnp.asarray(total / len(spreads))
