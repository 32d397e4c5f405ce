"""What data feeds and what methods count on: a source of images, how many make a batch, how many batches an epoch."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class ImageSource(Protocol):
    """Random access: `len(source)`, and `source[indices] -> uint8 [b s s 3]` for an integer array."""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: np.ndarray, /) -> np.ndarray: ...


@runtime_checkable
class ShapedSource(ImageSource, Protocol):
    """A source that says the shape (n, s, s, 3) and the dtype of its images before it reads any."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, s, s, 3)."""

    @property
    def dtype(self) -> np.dtype:
        """uint8."""


def steps_per_epoch(n: int, *, batch_size: int, min_valid: int) -> int:
    """Batches of an epoch of n images, as fed: the last one smaller, or left out with fewer than `min_valid`."""
    whole, rest = divmod(n, batch_size)
    return whole + (rest > 0 and rest >= min_valid)


def full_batches(images: ImageSource, chosen: np.ndarray, *, batch_size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Chosen images in batches of one shape, so that one program takes them all, and how many of each batch count.

    The last batch is filled up with its own images, repeated.

    >>> [(batch.tolist(), n) for batch, n in full_batches(np.arange(5), np.arange(5), batch_size=2)]
    [([0, 1], 2), ([2, 3], 2), ([4, 4], 1)]
    """
    for start in range(0, len(chosen), batch_size):
        indices = chosen[start : start + batch_size]
        yield np.asarray(images[np.resize(indices, batch_size)]), len(indices)


def images_of_a_pass(size: int, *, at_most: int) -> int:
    """How many images of side `size` go through a network at once where nothing is trained.

    As many pixels as `at_most` images of 256x256 have, so that memory does not grow with the size; at least one.

    >>> [images_of_a_pass(size, at_most=8) for size in (64, 256, 512, 1024)]
    [8, 8, 2, 1]
    """
    return max(1, min(at_most, at_most * 256**2 // size**2))
