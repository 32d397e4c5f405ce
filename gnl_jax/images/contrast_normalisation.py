"""Global contrast normalisation: every image with the same brightness and the same contrast (Deep SVDD's input)."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Float32, Real, UInt8

from gnl_jax.array_types import Array
from gnl_jax.images.pillow import luma

_CHUNK = 256  # images per pass over a training set


def contrast_normalise(images: Real[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """(x - mean) / mean|x - mean|, both means over all pixels and channels of an image ("l1").

    images: of any real dtype and scale, which cancels; the result is float32, or float64 from that. A constant image
    has no contrast and becomes zero. Published code: it becomes NaN.
    """
    x = images.astype(jnp.promote_types(images.dtype, jnp.float32))
    axes = (1, 2, 3)
    centred = x - jnp.mean(x, axes, keepdims=True)
    scale = jnp.mean(jnp.abs(centred), axes, keepdims=True)
    # Told by its values: the rounded mean of equal values need not equal them.
    constant = jnp.max(x, axes, keepdims=True) == jnp.min(x, axes, keepdims=True)
    return jnp.where(constant, 0, centred / jnp.where(constant, 1, scale))


def contrast(images: UInt8[Array, "b h w 3"], *, channels: int) -> Float32[Array, "b h w {channels}"]:
    """`contrast_normalise` of images in colour (3 channels) or of their Pillow luma (1).

    Published code: scales to [0, 1] first, which cancels.
    """
    return contrast_normalise(images if channels == 3 else luma(images)[..., None])


def contrast_range(images, *, channels: int) -> tuple[Float32[Array, ""], Float32[Array, ""]]:
    """Smallest and largest value of all training images after `contrast`.

    images: uint8 [n s s 3] or any source of them; (inf, -inf) for None.
    """

    @jax.jit
    def extremes(chunk):
        x = contrast(chunk, channels=channels)
        return jnp.min(x), jnp.max(x)

    low, high = jnp.float32(jnp.inf), jnp.float32(-jnp.inf)
    for chunk, _ in chunks(images):
        least, most = extremes(chunk)
        low, high = jnp.minimum(low, least), jnp.maximum(high, most)
    return low, high


def chunks(images) -> Iterator[tuple[UInt8[np.ndarray, "k h w 3"], Bool[np.ndarray, "k"]]]:
    """All images of a source in order, a few hundred at a time, as (images, valid).

    The last chunk is filled up, in rows that are not valid, with images that it already has.
    """
    n = count(images)
    for start in range(0, n, _CHUNK):
        indices = np.arange(start, min(start + _CHUNK, n))
        rows = np.resize(indices, min(_CHUNK, n))
        yield images[rows], np.arange(len(rows)) < len(indices)


def count(images) -> int:
    """Number of images of a source; 0 for None."""
    return 0 if images is None else len(images)
