"""Scoring and learning by windows: chunks of them at a time, so that memory does not grow with their number."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from gnl_jax.batches import ImageSource
from gnl_jax.data.listing import list_images
from gnl_jax.data.load import folder_options
from gnl_jax.data.pixels import ImageError, read_file, read_image
from gnl_jax.detection.options import FitOptions
from gnl_jax.detection.parts import GoodImages, ImagesLike, check_arrays
from gnl_jax.detection.region import blanked
from gnl_jax.detection.windows import Grid, Joined, cut_windows, place_windows
from gnl_jax.methods.base import GroupedImages, Prediction

CHUNK = 16  # windows that are cut and scored at once
KEPT_BYTES = 2**28  # of whole images that are kept while their windows are learned from

Score = Callable[[np.ndarray, int], Prediction[np.ndarray]]


def predict_windows(
    score: Score,
    images: ImageSource,
    grid: Grid,
    *,
    maps: bool = True,
    advance: Callable[[int], None] = lambda n: None,
) -> Prediction[np.ndarray]:
    """Whole images scored by their windows.

    An image's score is the largest of its windows' scores. Its drift is the mean of theirs: a change of light moves
    every window, a defect only those that show it, and the score sees these.

    Args:
        score: (windows uint8 [k s s 3], number of their image) -> their prediction, with maps [k s s] if `maps`.
        images: uint8 [n h w 3], of the grid's frame; read one at a time.
        grid: the windows.
        maps: whether joined maps are wanted, of a method that has them; they have `grid.map_shape`.
        advance: is called with 1 after each image.

    Returns:
        score float32 [n], map float32 [n h w] or None, drift float32 [n] or None.
    """
    scores, drifts = np.zeros(len(images), np.float32), np.zeros(len(images), np.float32)
    joined = np.zeros((len(images), *grid.map_shape), np.float32) if maps else None
    measured = False
    for i in range(len(images)):
        image, together = images[np.array([i])][0], Joined(grid) if maps else None
        highest: list[np.ndarray] = []
        drift: list[np.ndarray] = []
        for indices in _chunks(grid.count):
            try:
                found = score(cut_windows(image, grid, indices), i)
            except ValueError as error:  # a score that is no number
                raise ValueError(f"image {i}, among windows {indices[0]} to {indices[-1]}: {error}") from error
            highest.append(found.score)
            if found.drift is not None:
                drift.append(found.drift)
            if found.map is None:  # of a method without maps
                together = joined = None
            elif together is not None:
                for index, score_map in zip(indices, found.map):
                    together.add(index, score_map)
        scores[i] = np.concatenate(highest).max()
        if drift:
            measured, drifts[i] = True, np.concatenate(drift).mean(dtype=np.float64)
        if joined is not None and together is not None:
            joined[i] = together.result()
        advance(1)
    return Prediction(scores, joined, drifts if measured else None)


def _chunks(count: int) -> Iterator[range]:
    return (range(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK))


class WindowSource:
    """All windows of some images as an `ImageSource`, image by image: `source[indices] -> uint8 [... s s 3]`.

    The images that were read last are kept, as many as `KEPT_BYTES` hold: neighbouring windows are of one image.
    """

    def __init__(self, images: ImageSource, grid: Grid):
        self.images, self.grid = images, grid
        self.kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self.lock = threading.Lock()  # training reads in several threads

    def __len__(self) -> int:
        return len(self.images) * self.grid.count

    @property
    def shape(self) -> tuple[int, ...]:
        """(number of windows, s, s, 3)."""
        return (len(self), self.grid.side, self.grid.side, 3)

    @property
    def dtype(self) -> np.dtype:
        """uint8."""
        return np.dtype(np.uint8)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        shown, window = np.divmod(np.ravel(indices), self.grid.count)
        squares = np.empty((len(window), *self.shape[1:]), np.uint8)
        for i in np.unique(shown):
            squares[shown == i] = cut_windows(self._image(i), self.grid, window[shown == i])
        return squares.reshape(*np.shape(indices), *squares.shape[1:])

    def _image(self, i: int) -> np.ndarray:
        with self.lock:
            if i in self.kept:
                self.kept.move_to_end(i)
                return self.kept[i]
        (image,) = self.images[np.array([i])]
        with self.lock:
            self.kept[i] = image
            while len(self.kept) > 1 and len(self.kept) * image.nbytes > KEPT_BYTES:
                self.kept.popitem(last=False)
        return image


def squares_to_learn(good: GoodImages, grid: Grid | None, region: Any = None) -> GroupedImages:
    """What the networks see of good images: the images themselves or all their windows, each with its part.

    Args:
        good: the images.
        grid: of a detector with windows.
        region: bool [s s], outside which images without windows are blanked; None for all of them.
    """
    if grid is not None:
        return GroupedImages(WindowSource(good.images, grid), of_windows(good.parts, grid))
    return GroupedImages(blanked(good.images, region), good.parts)


def of_windows(of_images: Sequence[Any], grid: Grid | None) -> Sequence[Any]:
    """What is known of each image, for each of its windows; as it is without a grid."""
    return of_images if grid is None else [value for value in of_images for _ in range(grid.count)]


def place_grid(images: ImagesLike, dataset: ConfigDict, options: FitOptions) -> Grid | None:
    """The windows that options ask for, on the first of the images; None where they ask for none.

    Args:
        images: the good images: a folder, or arrays uint8 [h w 3].
        dataset: that group of a configuration: size, and how files are read.
        options: windows, and a rectangle that they are placed within.

    Raises:
        ValueError: a region that windows cannot be placed within, or windows that do not fit; the field is named.
    """
    requested, region, area = options.requested_windows, options.region, None
    if requested is None:
        return None
    if dataset.resize:
        raise ValueError(f"dataset.resize: got {dataset.resize} with windows, expected 0: what it cuts off is not seen")
    if region is not None and (region.roi is None or region.relative):
        what = "mask" if region.roi is None else "region_relative"
        raise ValueError(f"{what}: got it with windows, expected a rectangle (roi) in pixels, which they are placed in")
    frame = _first_size(images, dataset, options.exclude)
    if region is not None and region.roi is not None:
        x, y, width, height = region.roi
        if x + width > frame[1] or y + height > frame[0]:
            raise ValueError(f"roi: got {x},{y},{width},{height}, expected it within images of {frame[1]}x{frame[0]}")
        area = (y, x, height, width)
    return place_windows(requested, frame, side=dataset.size, filter=dataset.filter, area=area)


def _first_size(images: ImagesLike, dataset: ConfigDict, exclude: Sequence[str]) -> tuple[int, int]:
    """(height, width) of the first image that can be read and is not left out."""
    if not isinstance(images, str | os.PathLike):
        check_arrays(images)
        if not len(images):
            raise ValueError("images: got none, expected good images")
        return images[0].shape[:2]
    dataset = dataset.copy_and_resolve_references()
    dataset.root, left_out = os.fspath(images), {os.fspath(path) for path in exclude}
    reading = folder_options(dataset, seed=0)
    error = ImageError(f"{dataset.root!r}: no image is left")
    for name in list_images(images):
        path = os.path.join(images, name)
        if name in left_out or path in left_out:
            continue
        try:
            return read_image(read_file(path), name=path, white=reading.white, alpha=reading.alpha).shape[:2]
        except ImageError as unusable:
            error = unusable
    raise error
