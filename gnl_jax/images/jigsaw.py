"""Jigsaw puzzles (JiGen, Carlucci et al. 2019): images cut in 3x3 tiles and put together in one of a few orders."""

import itertools
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, Int32, Key, Shaped, UInt8

from gnl_jax.array_types import Array

GRID = 3
TILES = GRID * GRID


@cache
def jigsaw_permutations(n: int = 30, seed: int = 0) -> Int32[np.ndarray, "{n+1} 9"]:
    """The orders of the nine tiles that an image may be given, read-only; row 0 is the right one.

    Each further order is the one that differs in most places from the chosen order it resembles most, then from all of
    them together; `seed` decides among equals. Published code of JiGen: only the sum over all counts, and the right
    order is not among those to keep away from. Raises ValueError for an `n` that is not in [1, 9! - 1].
    """
    everything = itertools.chain.from_iterable(itertools.permutations(range(TILES)))
    candidates = np.fromiter(everything, np.int8).reshape(-1, TILES)
    if not 1 <= n < len(candidates):
        raise ValueError(f"n: expected a number in [1, {len(candidates) - 1}], got {n!r}")
    # The first candidate is the right order; the others are shuffled, so that the first of equals is a random one.
    shuffled = 1 + np.random.default_rng(seed).permutation(len(candidates) - 1)
    candidates = np.concatenate([candidates[:1], candidates[shuffled]])
    chosen = candidates[_spread(candidates, n + 1)].astype(np.int32)
    chosen.setflags(write=False)
    return chosen


def _spread(candidates, n):
    """Indices of n rows of `candidates` [m t], the first row among them, far from one another in Hamming distance."""
    columns = np.ascontiguousarray(candidates.T)
    nearest = np.full(len(candidates), len(columns) + 1)
    total = np.zeros(len(candidates), int)
    chosen = [0]
    while len(chosen) < n:
        distance = sum((column != column[chosen[-1]]).astype(np.int8) for column in columns)
        nearest = np.minimum(nearest, distance)
        total += distance
        # A distance of zero to the nearest is a row that is chosen already, the lowest value there is.
        chosen.append(int(np.argmax(nearest * (len(columns) * n + 1) + total)))
    return chosen


def shuffle_tiles(
    key: Key[Array, ""], images: UInt8[Array, "b s s 3"], permutations: Int[Array, "p 9"], identity: float
) -> tuple[UInt8[Array, "b s s 3"], Int32[Array, "b"]]:
    """Put each image together in a random order, (images, which order).

    `permutations`: row 0 is the right order. With probability `identity` an image
    is left in order, otherwise each row is as likely as another, row 0 included (as in JiGen's code). Image i is a
    function of `fold_in(key, i)` alone. Raises ValueError for images of another shape or type, or an `identity` that
    is not in [0, 1].
    """
    if images.dtype != jnp.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"images: expected uint8 [b s s 3], got {images.dtype} {list(images.shape)}")
    if not 0 <= identity <= 1:
        raise ValueError(f"identity: expected a probability in [0, 1], got {identity!r}")
    permutations = jnp.asarray(permutations)

    def shuffle(position, image):
        whole, which = jax.random.uniform(jax.random.fold_in(key, position), (2,), jnp.float32)
        order = jnp.where(whole < identity, 0, (len(permutations) * which).astype(jnp.int32))
        return apply_order(image, permutations[order]), order

    return jax.vmap(shuffle)(jnp.arange(len(images)), images)


def apply_order(image: Shaped[Array, "h w c"], permutation: Int[Array, "9"]) -> Shaped[Array, "h w c"]:
    """Put an image together again: in raster order, tile t of the result is tile permutation[t] of the image.

    Sides that are no multiple of three are continued by their last row or
    column (at the bottom and on the right) before the image is cut, and cropped afterwards: the right order changes
    nothing.
    """
    height, width, channels = image.shape
    rows, columns = (-(-side // GRID) for side in (height, width))  # of a tile, rounded up
    padding = ((0, rows * GRID - height), (0, columns * GRID - width), (0, 0))
    padded = jnp.pad(image, padding, mode="edge")
    tiles = padded.reshape(GRID, rows, GRID, columns, channels).swapaxes(1, 2).reshape(TILES, rows, columns, channels)
    shuffled = tiles[permutation].reshape(GRID, GRID, rows, columns, channels).swapaxes(1, 2)
    return shuffled.reshape(padded.shape)[:height, :width]
