"""Anomaly maps: per-level cosine distances, upsampled, summed and smoothed (Eq. 7 and 8, published RD4AD test routine).

Upsampling (bilinear, corners aligned) and Gaussian smoothing are linear and separable, so level k contributes
P M P^T with one constant matrix P per side.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Float, Float64

from gnl_jax.array_types import Array, Stages
from gnl_jax.ops.cosine import cosine_distance_map

SIGMA = 4.0  # pixels, at every image size (published RD4AD test routine; the paper does not mention the smoothing)


def upsample_matrix(size_out: int, size_in: int) -> Float64[np.ndarray, "{size_out} {size_in}"]:
    """Linear interpolation, corners aligned: output i reads i (n_in - 1) / (n_out - 1)."""
    source = np.linspace(0, size_in - 1, size_out)
    low = np.minimum(source.astype(int), max(size_in - 2, 0))
    matrix = np.zeros((size_out, size_in))
    rows = np.arange(size_out)
    if size_in == 1:
        return np.ones((size_out, 1))
    matrix[rows, low] = 1 - (source - low)
    matrix[rows, low + 1] = source - low
    return matrix


def gaussian_matrix(size: int, sigma: float = SIGMA, truncate: float = 4.0) -> Float64[np.ndarray, "{size} {size}"]:
    """scipy.ndimage.gaussian_filter1d as a matrix.

    Its radius is int(truncate sigma + 0.5); edges are mirrored with the edge pixel repeated.
    """
    radius = int(truncate * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    source = (np.arange(size)[:, None] + offsets[None]) % (2 * size)
    source = np.where(source >= size, 2 * size - 1 - source, source)
    matrix = np.zeros((size, size))
    np.add.at(matrix, (np.arange(size)[:, None], source), np.broadcast_to(weights, source.shape))
    return matrix


@functools.lru_cache(maxsize=64)
def _level_matrix(size_out: int, size_in: int) -> np.ndarray:
    return gaussian_matrix(size_out) @ upsample_matrix(size_out, size_in)


def score_map(teacher: Stages, student: Stages, *, size: tuple[int, int]) -> Float[Array, "b {size[0]} {size[1]}"]:
    """Smoothed anomaly map of every image: sum over levels of P (1 - cos(E_k, D_k)) P^T.

    teacher, student: the same number of features, of the same shapes; size: (height, width) in pixels. The maps are at
    least float32; the products run at full float32 precision on every device.

    >>> teacher = jnp.ones((1, 8, 8, 4))
    >>> student = teacher.at[0, 2, 4].set(-1.0)  # the opposite at one position
    >>> anomaly = score_map([teacher], [student], size=(64, 64))[0]
    >>> [int(i) for i in jnp.unravel_index(anomaly.argmax(), anomaly.shape)]
    [18, 36]
    """
    total: Array | float = 0.0
    for e, d in zip(teacher, student, strict=True):
        distance = cosine_distance_map(e, d)
        rows, columns = (
            jnp.asarray(_level_matrix(n, m), distance.dtype) for n, m in zip(size, distance.shape[1:], strict=True)
        )
        total = total + jnp.einsum("hi,bij,wj->bhw", rows, distance, columns, precision=lax.Precision.HIGHEST)
    return jnp.asarray(total)


def image_score(maps: Float[Array, "b h w"]) -> Float[Array, "b"]:
    """The largest value of each map."""
    return jnp.max(maps, axis=(1, 2))
