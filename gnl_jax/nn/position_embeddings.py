"""Position embeddings of a vision transformer, resized bicubically to another grid of patches."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float64

from gnl_jax.array_types import Array

Resize = Callable[[int, int], Float64[np.ndarray, "new old"]]  # (new, old) -> the weights of one axis


def bicubic(new: int, old: int, *, offset: float = 0.0) -> Float64[np.ndarray, "{new} {old}"]:
    """Weights that resize `old` values to `new` bicubically, four taps each, the values at the ends repeated.

    Args:
        new: number of values after.
        old: number of values before.
        offset: the step between samples is old / (new + offset). The original DINOv2 has 0.1.

    Returns:
        A row for each value after; every row sums to 1.

    References:
        torch's `interpolate(mode="bicubic", align_corners=False)`, a = -0.75.
    """
    position = (np.arange(new) + 0.5) * (old / (new + offset)) - 0.5
    weights = np.zeros((new, old))
    for tap in range(-1, 3):
        index = np.floor(position).astype(int) + tap
        np.add.at(weights, (np.arange(new), np.clip(index, 0, old - 1)), _cubic(position - index, a=-0.75))
    return weights


def antialiased_bicubic(new: int, old: int) -> Float64[np.ndarray, "{new} {old}"]:
    """Weights that resize `old` values to `new` bicubically, the kernel widened where the new grid is coarser.

    Args:
        new: number of values after.
        old: number of values before.

    Returns:
        A row for each value after; every row sums to 1.

    References:
        torch's `interpolate(mode="bicubic", antialias=True)`, a = -0.5; Pillow's bicubic filter is the same.
    """
    step = old / new
    width = max(step, 1.0)
    centre = (np.arange(new) + 0.5)[:, None] * step
    index = np.arange(old)[None, :]
    first, end = np.floor(centre - 2 * width + 0.5), np.floor(centre + 2 * width + 0.5)
    weights = np.where((index >= first) & (index < end), _cubic((index + 0.5 - centre) / width, a=-0.5), 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


def resize_grid(
    grid: Float[Array, "g g c"], height: int, width: int, *, resize: Resize
) -> Float[Array, "{height} {width} c"]:
    """Resize a square grid of embeddings; a grid of the same size is returned as it is.

    Args:
        grid: one embedding a patch.
        height: rows wanted.
        width: columns wanted.
        resize: the weights of one axis, `bicubic` or `antialiased_bicubic`.
    """
    size = grid.shape[0]
    if (height, width) == (size, size):
        return grid
    rows, columns = (jnp.asarray(resize(new, size), grid.dtype) for new in (height, width))
    return jnp.einsum("ih,jw,hwc->ijc", rows, columns, grid, precision="highest")


def _cubic(x: np.ndarray, *, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel, zero beyond 2."""
    x = np.abs(x)
    inner = ((a + 2) * x - (a + 3)) * x * x + 1
    outer = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x <= 1, inner, np.where(x < 2, outer, 0.0))
