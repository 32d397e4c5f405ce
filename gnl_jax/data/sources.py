"""Images that are read when they are asked for: some of them, or all of them changed, without holding any."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from gnl_jax.batches import ImageSource, ShapedSource

CHUNK_BYTES = 2**24  # of images held at once where all are gone through; one image at least


@dataclasses.dataclass(frozen=True)
class Subset:
    """Some images of a source, in the order of their positions int [k]; such a source itself.

    `change(uint8 [b s s 3]) -> uint8 [b s s 3]` is applied as they are read.
    """

    source: ShapedSource
    positions: np.ndarray
    change: Callable[[np.ndarray], np.ndarray] = lambda images: images

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def shape(self) -> tuple[int, ...]:
        """(k, s, s, 3): that of the source with k images."""
        return (len(self), *self.source.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """That of the source."""
        return self.source.dtype

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return self.change(self.source[self.positions[indices]])


@dataclasses.dataclass(frozen=True)
class Arrays:
    """A list of arrays uint8 [h w 3] of one size as a source: no copy of them all is made."""

    images: Sequence[np.ndarray]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, h, w, 3); (0, 0, 0, 3) without images."""
        return (len(self), *(self.images[0].shape if self.images else (0, 0, 3)))

    @property
    def dtype(self) -> np.dtype:
        """uint8."""
        return np.dtype(np.uint8)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return np.stack([self.images[i] for i in indices])


def subset(images: ShapedSource, positions: Sequence[int] | np.ndarray) -> ShapedSource:
    """The images at some positions: an array of an array, else a source that holds none."""
    positions = np.asarray(positions, np.int64)
    return images[positions] if isinstance(images, np.ndarray) else Subset(images, positions)


def changed(images: ShapedSource, change: Callable[[np.ndarray], np.ndarray]) -> ShapedSource:
    """All images changed, uint8 [b s s 3] to uint8 [b s s 3]: an array of an array, else a source that holds none."""
    return change(images) if isinstance(images, np.ndarray) else Subset(images, np.arange(len(images)), change)


def in_memory(images: ImageSource) -> np.ndarray:
    """All images as one array: an array as it is."""
    return images if isinstance(images, np.ndarray) else images[np.arange(len(images))]


def one_by_one(images: ShapedSource) -> Iterator[np.ndarray]:
    """Each image uint8 [h w 3] of a source in its order, with at most `CHUNK_BYTES` of them held."""
    chunk = max(1, CHUNK_BYTES // max(1, math.prod(images.shape[1:])))
    for start in range(0, len(images), chunk):
        yield from images[np.arange(start, min(start + chunk, len(images)))]
