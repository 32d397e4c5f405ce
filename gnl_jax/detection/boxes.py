"""Where the defect is, in the pixels of the image as it came: boxes, and the score map at that size."""

import math
from typing import NamedTuple

import numpy as np
from PIL import Image

from gnl_jax.detection.windows import Grid
from gnl_jax.images.resize import Geometry

Box = tuple[int, int, int, int]


class Axis(NamedTuple):
    """How one side of a score map lies on its image.

    Attributes:
        first, length: pixels of the image that its resized form is made of.
        resized, cut: pixels of that form, and those before the map's first one.
    """

    first: int
    length: int
    resized: int
    cut: float


def map_axes(geometry: Geometry | Grid, source: tuple[int, int]) -> tuple[Axis, Axis]:
    """The two sides of a map of this geometry on an image of a (height, width), or on a smaller copy of it."""
    if isinstance(geometry, Geometry):
        return square_axes(geometry.size, geometry.resized, source)
    return grid_axes(geometry, source)


def square_axes(size: int, resized: int, source: tuple[int, int]) -> tuple[Axis, Axis]:
    """How a map of `size`, cut out of the middle of a square, lies on the image that was resized to that square."""
    cut = (resized - size) / 2
    return Axis(0, source[0], resized, cut), Axis(0, source[1], resized, cut)


def grid_axes(grid: Grid, source: tuple[int, int]) -> tuple[Axis, Axis]:
    """How the joined map of windows lies on an image of a (height, width), or on a smaller copy of it."""
    axes = []
    for first, length, whole, shown, resized in zip(grid.area, grid.area[2:], grid.frame, source, grid.map_shape):
        begin, end = (round(pixel * shown / whole) for pixel in (first, first + length))
        axes.append(Axis(begin, max(1, end - begin), resized, 0))
    vertical, horizontal = axes
    return vertical, horizontal


def defect_boxes(
    score_map: np.ndarray, threshold: float, *, source: tuple[int, int], geometry: Geometry | Grid
) -> list[Box]:
    """Boxes (x, y, width, height) around the connected regions of a score map above a threshold, largest peak first.

    score_map: floats [s s], or the joined one of windows; source: (height, width) of the image. An image whose score
    does not exceed the threshold has no box, for its score is the map's largest value. Touching corners connect.
    """
    above = score_map > threshold
    if not above.any():
        return []
    from scipy import ndimage  # for a part that is OK nothing is imported

    labels, n = ndimage.label(above, structure=np.ones((3, 3)))
    regions = ndimage.find_objects(labels)
    peaks = ndimage.maximum(score_map, labels, range(1, n + 1))
    order = sorted(range(n), key=lambda i: (-peaks[i], i))
    return [_in_source(regions[i], source, geometry) for i in order]


def frame_map(score_map: np.ndarray, *, source: tuple[int, int], geometry: Geometry | Grid) -> np.ndarray:
    """A score map in the pixels of the image it is of: floats [h w] -> float32 [height width], bilinear.

    source: (height, width) of the image. What the resize cut off, or what no window shows, has the value 0.
    """
    axes = map_axes(geometry, source)
    whole = np.zeros([axis.resized for axis in axes], np.float32)
    whole[tuple(slice(round(axis.cut), round(axis.cut) + n) for axis, n in zip(axes, score_map.shape))] = score_map
    placed = np.asarray(Image.fromarray(whole).resize([axis.length for axis in axes[::-1]], Image.Resampling.BILINEAR))
    result = np.zeros(source, np.float32)
    result[tuple(slice(axis.first, axis.first + axis.length) for axis in axes)] = placed
    return result


def _in_source(region: tuple[slice, slice], source: tuple[int, int], geometry: Geometry | Grid) -> Box:
    (y, height), (x, width) = (
        span(axis, along.start, along.stop) for along, axis in zip(region, map_axes(geometry, source))
    )
    return x, y, width, height


def span(axis: Axis, start: int, stop: int) -> tuple[int, int]:
    """First pixel and length on the image of what is from `start` to before `stop` on the map."""
    scale, cut = axis.length / axis.resized, round(axis.cut)
    begin, end = math.floor((start + cut) * scale), math.ceil((stop + cut) * scale)
    return axis.first + begin, max(1, min(end, axis.length) - begin)
