"""The jigsaw task of JiGen, fitted into the bottleneck: recognise from the embedding how the tiles were shuffled."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float, Int, Int32

from gnl_jax.array_types import Array

PyTree = Any


class Jigsaw(NamedTuple):
    """The task's settings. Paper: "fit the Jigsaw task into the Bottleneck component", no more; ours are JiGen's."""

    weight: float  # of the cross-entropy beside L_ori
    permutations: Int32[np.ndarray, "orders 9"]  # the first one the identity
    identity: float  # probability that an image is left in order
    ordered_only: bool  # reconstruct the features of ordered images only


def init_head(key: Array, *, features: int, orders: int) -> PyTree:
    """The linear classifier on the pooled embedding, torch's default initialisation U(-b, b), b = 1/sqrt(features)."""
    bound = 1 / math.sqrt(features)
    kernel_key, bias_key = jax.random.split(key)
    return {
        "kernel": jax.random.uniform(kernel_key, (features, orders), minval=-bound, maxval=bound),
        "bias": jax.random.uniform(bias_key, (orders,), minval=-bound, maxval=bound),
    }


def jigsaw_loss(head: PyTree, embedding: Float[Array, "b h w c"], order: Int[Array, "b"]) -> Float[Array, "b"]:
    """Cross-entropy of the order's number, as recognised from the embedding."""
    pooled = embedding.mean((1, 2), dtype=jnp.promote_types(embedding.dtype, jnp.float32))
    logits = pooled @ head["kernel"] + head["bias"][None, :]
    return optax.softmax_cross_entropy_with_integer_labels(logits, order)
