"""What a worse camera sees of an image: blur and sensor noise, each with even odds and drawn strength."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float32, Key, Real

from gnl_jax.array_types import Array, Scalar

ODDS = 0.5
SIGMA = (0.4, 2.2)  # of the blur, in pixels of a 256-pixel image; proportionally less of a smaller one
NOISE = (2.55, 20.4)  # standard deviation in [0, 255], drawn evenly on a logarithmic scale
_RADIUS = 7


def degrade(key: Key[Array, ""], images: Real[Array, "b h w 3"]) -> Float32[Array, "b h w 3"]:
    """Blurs and then adds Gaussian noise to each image, either, both or neither.

    Args:
        key: of the draw; each image has its own.
        images: in [0, 255].

    Returns:
        Images in [0, 255].
    """
    return degrade_each(jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(images))), images)


def degrade_each(keys: Key[Array, "b"], images: Real[Array, "b h w 3"]) -> Float32[Array, "b h w 3"]:
    """`degrade` with a key for each image."""
    images = jnp.asarray(images, jnp.float32)
    # One after the other: drawn for all at once, the noise takes half as long again to compile.
    return jnp.clip(jax.lax.map(lambda pair: _degrade_one(*pair), (keys, images)), 0, 255)


def _degrade_one(key: Array, image: Array) -> Array:
    blurred, noisy, width, level, noise = jax.random.split(key, 5)
    sigma = jax.random.uniform(width, minval=SIGMA[0], maxval=SIGMA[1]) * image.shape[0] / 256
    image = jnp.where(jax.random.bernoulli(blurred, ODDS), _blur(image, sigma), image)
    low, high = jnp.log(NOISE[0]), jnp.log(NOISE[1])
    deviation = jnp.exp(jax.random.uniform(level, minval=low, maxval=high))
    grain = deviation * jax.random.normal(noise, image.shape)
    return jnp.where(jax.random.bernoulli(noisy, ODDS), image + grain, image)


def _blur(image: Array, sigma: Scalar) -> Array:
    """A Gaussian of 15 taps along both sides of an image [h w 3], its edges repeated."""
    offsets = jnp.arange(-_RADIUS, _RADIUS + 1)
    weights = jnp.exp(-0.5 * jnp.square(offsets / sigma))
    weights = weights / weights.sum()
    for axis in (0, 1):
        padded = jnp.pad(image, [(_RADIUS, _RADIUS) if i == axis else (0, 0) for i in range(3)], mode="edge")
        # A loop: written out, all taps of both sides become one expression, which is slow to compile and to compute.
        add = functools.partial(_add_tap, padded, weights, axis=axis)
        image = jax.lax.fori_loop(0, len(offsets), add, jnp.zeros_like(image))
    return image


def _add_tap(padded: Array, weights: Array, i: Array, total: Array, *, axis: int) -> Array:
    return total + weights[i] * jax.lax.dynamic_slice_in_dim(padded, i, total.shape[axis], axis)
