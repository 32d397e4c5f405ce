"""Pillow's geometric operations in JAX, bit for bit: rotate, shear and translate as AugMix calls them.

Every operation takes one image and returns one of that size; `jax.vmap` makes batches. What comes from
outside the image is black. Pillow computes in float64, so the arithmetic here is float64 whatever the program around
it uses; on a device without it (a TPU emulates it) a value may be off by one.
"""

import math
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float64, Int, UInt8

from gnl_jax.array_types import Array, Scalar

OPERATIONS = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")

# No coordinate, and no product of one with an entry of a matrix, comes near this bound: see `_rounded`.
_UNREACHABLE = 1e9
# The entry of the matrix that an operation other than the rotation changes.
_ENTRIES = {"shear_x": (0, 1), "shear_y": (1, 0), "translate_x": (0, 2), "translate_y": (1, 2)}


def move(image: UInt8[Array, "h w 3"], which: Int[Array, ""] | int, amount: Scalar) -> UInt8[Array, "h w 3"]:
    """Apply the operation chosen at run time: `OPERATIONS[which]` by `amount`, one warp for all five.

    `amount` is rounded to float32: degrees, a slope or pixels as for the named functions
    below, where a fraction of a degree is dropped.
    """
    amount = jnp.asarray(amount, jnp.float32)
    degrees = amount.astype(jnp.int32)
    with jax.enable_x64(True):
        unit = jnp.asarray(_units())[which]
        others = jnp.eye(2, 3) + amount.astype(jnp.float64) * unit
        rotation = jnp.asarray(_rotations(*image.shape[:2]))[degrees % 360]
        return _warp(image, jnp.where(which == OPERATIONS.index("rotate"), rotation, others))


def rotate(image: UInt8[Array, "h w 3"], degrees: Scalar) -> UInt8[Array, "h w 3"]:
    """`image.rotate(degrees, BILINEAR)`: counter-clockwise about the centre by whole degrees."""
    return move(image, OPERATIONS.index("rotate"), degrees)


def shear_x(image: UInt8[Array, "h w 3"], slope: Scalar) -> UInt8[Array, "h w 3"]:
    """`image.transform(image.size, AFFINE, (1, slope, 0, 0, 1, 0), BILINEAR)`."""
    return move(image, OPERATIONS.index("shear_x"), slope)


def shear_y(image: UInt8[Array, "h w 3"], slope: Scalar) -> UInt8[Array, "h w 3"]:
    """`image.transform(image.size, AFFINE, (1, 0, 0, slope, 1, 0), BILINEAR)`."""
    return move(image, OPERATIONS.index("shear_y"), slope)


def translate_x(image: UInt8[Array, "h w 3"], pixels: Scalar) -> UInt8[Array, "h w 3"]:
    """`image.transform(image.size, AFFINE, (1, 0, pixels, 0, 1, 0), BILINEAR)`: to the left where positive."""
    return move(image, OPERATIONS.index("translate_x"), pixels)


def translate_y(image: UInt8[Array, "h w 3"], pixels: Scalar) -> UInt8[Array, "h w 3"]:
    """`image.transform(image.size, AFFINE, (1, 0, 0, 0, 1, pixels), BILINEAR)`: upwards where positive."""
    return move(image, OPERATIONS.index("translate_y"), pixels)


def _units() -> Float64[np.ndarray, "5 2 3"]:
    """One in the entry of the matrix that the operation changes; none for the rotation."""
    units = np.zeros((len(OPERATIONS), 2, 3))
    for name, entry in _ENTRIES.items():
        units[(OPERATIONS.index(name), *entry)] = 1
    return units


@cache
def _rotations(height: int, width: int) -> Float64[np.ndarray, "360 2 3"]:
    """Pillow's matrix for each whole degree, made on the host so that no sine can differ.

    Pillow rotates by multiples of 90 degrees without a matrix; these give the same.
    """
    x, y = width / 2, height / 2
    matrices = []
    for degrees in range(360):
        angle = -math.radians(degrees)
        cos, sin = round(math.cos(angle), 15), round(math.sin(angle), 15)
        matrices.append([[cos, sin, cos * -x + sin * -y + x], [-sin, cos, -sin * -x + cos * -y + y]])
    return np.array(matrices)


def _warp(image: UInt8[Array, "h w 3"], matrix: Float64[Array, "2 3"]) -> UInt8[Array, "h w 3"]:
    """`image.transform(image.size, AFFINE, matrix, BILINEAR)` under `jax.enable_x64`.

    The matrix leads from the centre of a pixel of the result to a point of the image, both as (x, y).
    """
    height, width, channels = image.shape
    x, y = (jnp.arange(n, dtype=jnp.float64) + 0.5 for n in (width, height))
    x, y = x[None, :], y[:, None]
    u, v = (_rounded(a * x) + _rounded(b * y) + c for a, b, c in matrix)  # [h w] each
    inside = (u >= 0) & (u < width) & (v >= 0) & (v < height)
    (left, right, across), (upper, lower, down) = _neighbours(u, width), _neighbours(v, height)
    pixels = jnp.asarray(image).reshape(-1, channels)

    def values(row, column):
        index = row * width + column
        return pixels.at[index].get(mode="promise_in_bounds", wrap_negative_indices=False).astype(jnp.float64)

    above = _between(values(upper, left), values(upper, right), across)
    below = _between(values(lower, left), values(lower, right), across)
    return jnp.where(inside[..., None], _between(above, below, down), 0).astype(jnp.uint8)


def _neighbours(position, n):
    """Indices of the two pixels around each position, int32, at most those at the border; where between them it is."""
    position = position - 0.5
    floor = jnp.floor(position)
    first, second = (jnp.clip(index, 0, n - 1).astype(jnp.int32) for index in (floor, floor + 1))
    return first, second, (position - floor)[..., None]


def _between(start, end, fraction):
    return start + _rounded((end - start) * fraction)


def _rounded(product):
    """The product, rounded before it is added to: the bounds change no value, but keep the compiler from fusing."""
    return jnp.clip(product, -_UNREACHABLE, _UNREACHABLE)
