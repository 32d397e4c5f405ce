"""What a worse camera sees of an image: blur and sensor noise, each with even odds and drawn strength."""

import functools
import operator

import jax
import jax.numpy as jnp

ODDS = 0.5
SIGMA = (0.4, 2.2)  # of the blur, in pixels of a 256-pixel image; proportionally less of a smaller one
NOISE = (2.55, 20.4)  # standard deviation in [0, 255], drawn evenly on a logarithmic scale
_RADIUS = 7


def degrade(key: jax.Array, images: jax.Array) -> jax.Array:
    """Blurs and then adds Gaussian noise to each image, either, both or neither.

    Args:
        key: of the draw; each image has its own.
        images: uint8 or float32 in [0, 255], [b h w 3].

    Returns:
        float32 in [0, 255], [b h w 3].
    """
    return degrade_each(jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(images))), images)


def degrade_each(keys: jax.Array, images: jax.Array) -> jax.Array:
    """`degrade` with a key for each image, [b]."""
    images = jnp.asarray(images, jnp.float32)
    return jnp.clip(jax.vmap(_degrade_one)(keys, images), 0, 255)


def _degrade_one(key: jax.Array, image: jax.Array) -> jax.Array:
    blurred, noisy, width, level, noise = jax.random.split(key, 5)
    sigma = jax.random.uniform(width, minval=SIGMA[0], maxval=SIGMA[1]) * image.shape[0] / 256
    image = jnp.where(jax.random.bernoulli(blurred, ODDS), _blur(image, sigma), image)
    low, high = jnp.log(NOISE[0]), jnp.log(NOISE[1])
    deviation = jnp.exp(jax.random.uniform(level, minval=low, maxval=high))
    grain = deviation * jax.random.normal(noise, image.shape)
    return jnp.where(jax.random.bernoulli(noisy, ODDS), image + grain, image)


def _blur(image: jax.Array, sigma: jax.Array) -> jax.Array:
    """A Gaussian of 15 taps along both sides of an image [h w 3], its edges repeated."""
    offsets = jnp.arange(-_RADIUS, _RADIUS + 1)
    weights = jnp.exp(-0.5 * jnp.square(offsets / sigma))
    weights = weights / weights.sum()
    for axis in (0, 1):
        n = image.shape[axis]
        padded = jnp.pad(image, [(_RADIUS, _RADIUS) if i == axis else (0, 0) for i in range(3)], mode="edge")
        taps = [weights[i] * jax.lax.slice_in_dim(padded, i, i + n, axis=axis) for i in range(len(offsets))]
        image = functools.reduce(operator.add, taps)
    return image
