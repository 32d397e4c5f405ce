"""Cosine distances with a finite gradient everywhere."""

import jax
import optax

from gnl_jax.ops.precision import at_least_float32

# torch's cosine_similarity bounds each norm below by 1e-8. optax bounds the squared norm by its `epsilon`, which is the
# same value and, unlike a bound on the norm, has a gradient at zero.
_MIN_SQUARED_NORM = 1e-16


def _cosine_distance(a: jax.Array, b: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    a, b = at_least_float32(a), at_least_float32(b)
    return optax.losses.cosine_distance(a, b, epsilon=_MIN_SQUARED_NORM, axis=axes)


def cosine_distance(a: jax.Array, b: jax.Array) -> jax.Array:
    """1 - cos of each pair of examples, flattened to one vector: a, b [b ...] -> [b], in [0, 2]; 1 at a zero vector.

    The training distance of RD4AD and of Eq. 1 and 2, one value per example.
    """
    return _cosine_distance(a, b, tuple(range(1, a.ndim)))


def cosine_distance_map(a: jax.Array, b: jax.Array) -> jax.Array:
    """1 - cos over channels at every position: a, b [b h w c] -> [b h w] (Eq. 7)."""
    return _cosine_distance(a, b, (a.ndim - 1,))
