"""The convolution of one image in bands of rows that lie side by side, for CPUs: the same products on more cores.

XLA's convolution on a CPU (YNNPACK) is divided among cores along the output's width and features, never along its
rows, in tiles of about 64 x 64 for 3x3x64. One image's map of 64x64x64 is a single tile, so it takes 2.6 ms on one core
and on two. Eight bands of its rows, each with the rows around it, side by side, are several tiles: two residual blocks
11.4 -> 6.9 ms on two cores, copies included, with the same bits (AVX-512 Xeon). In a batch the copies cost as much as
is gained.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from gnl_jax.array_types import Array
from gnl_jax.machine import usable_cores
from gnl_jax.ops.cpu_program import is_for_this_cpu

MOST = 8  # bands; two cores are no faster with more
ROW = 4_300_000  # products of a row of outputs from which on XLA divides it itself: 3x3x64x64 on a map 117 wide
WORK = 20_000_000  # products of a convolution below which copies cost more than the second core gains


def bands_of(x: Float[Array, "b h w c"], kernel: Float[Array, "k k c o"], *, stride: int, padding: int) -> int:
    """In how many bands the images are best convolved; 1: as they are."""
    if not is_for_this_cpu() or usable_cores() == 1 or x.shape[0] != 1:
        return 1
    rows, columns = _output_size(x, kernel, stride, padding)
    row = columns * kernel.size
    if row > ROW or rows * row < WORK:
        return 1
    return next(bands for bands in (MOST, MOST // 2, MOST // 4, 1) if rows % bands == 0)


def conv_in_bands(
    x: Float[Array, "b h w c"], kernel: Float[Array, "k k c o"], *, stride: int, padding: int, bands: int
) -> Float[Array, "b oh ow o"]:
    """The convolution of `layers.conv2d`; bands must divide oh."""
    size, features, width = kernel.shape[0], kernel.shape[3], x.shape[2]
    rows, columns = _output_size(x, kernel, stride, padding)
    rows //= bands
    pitch = -(-(width + 2 * padding) // stride)  # columns of outputs from one band to the next
    right = pitch * stride - width - padding
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, right), (0, 0)))
    read = (rows - 1) * stride + size
    x = jnp.concatenate([x[:, i : i + read] for i in range(0, bands * rows * stride, rows * stride)], axis=2)
    y = lax.conv_general_dilated(
        x, kernel, (stride, stride), [(0, 0), (0, size - 1)], dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    # What lies between two bands is cut off.
    y = y[:, :, : bands * pitch].reshape(-1, rows, bands, pitch, features)[:, :, :, :columns]
    return jnp.moveaxis(y, 2, 1).reshape(-1, bands * rows, columns, features)


def _output_size(x: Array, kernel: Array, stride: int, padding: int) -> tuple[int, int]:
    """(oh, ow)."""
    rows, columns = ((n + 2 * padding - kernel.shape[0]) // stride + 1 for n in x.shape[1:3])
    return rows, columns
