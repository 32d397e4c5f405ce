"""Images that are read when they are asked for: some of them, or all of them changed, without holding any."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from gnl_jax.data.protocol import ImageSource

CHUNK = 64  # images held at once where all are gone through


@dataclasses.dataclass(frozen=True)
class Subset:
    """Some images of a source that has a shape, in the order of their positions int [k]; such a source itself."""

    source: ImageSource
    positions: np.ndarray

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.source.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        return self.source.dtype

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return self.source[self.positions[indices]]


@dataclasses.dataclass(frozen=True)
class Changed:
    """A source whose images are changed as they are read: `change(uint8 [b s s 3]) -> uint8 [b s s 3]`."""

    source: ImageSource
    change: Callable[[np.ndarray], np.ndarray]

    def __len__(self) -> int:
        return len(self.source)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.source.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        return self.source.dtype

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return self.change(self.source[indices])


def subset(images: ImageSource, positions: Sequence[int] | np.ndarray) -> ImageSource:
    """The images at some positions: an array of an array, else a source that holds none."""
    positions = np.asarray(positions, np.int64)
    return images[positions] if isinstance(images, np.ndarray) else Subset(images, positions)


def changed(images: ImageSource, change: Callable[[np.ndarray], np.ndarray]) -> ImageSource:
    """All images changed, uint8 [b s s 3] to uint8 [b s s 3]: an array of an array, else a source that holds none."""
    return change(images) if isinstance(images, np.ndarray) else Changed(images, change)


def one_by_one(images: ImageSource) -> Iterator[np.ndarray]:
    """Each image uint8 [s s 3] in its order, with at most `CHUNK` of them held."""
    for start in range(0, len(images), CHUNK):
        yield from images[np.arange(start, min(start + CHUNK, len(images)))]
