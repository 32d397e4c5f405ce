"""Overlapping windows of an image: where they are, how they are cut out, and how their score maps become one."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gnl_jax.images.resize import Geometry, Native, resize

OVERLAP = 8  # windows overlap by an eighth of their side unless another overlap is requested
LEAST_SIDE = 16  # pixels of a window: less shows a network nothing
BUMP = 8.0  # pixels of a map: how far around the highest score its own window's map is kept


@dataclasses.dataclass(frozen=True)
class Windows:
    """What is requested, in pixels of the images: `count` x `count` windows, or square ones of a `size`.

    Attributes:
        count: windows along each side of the image, each of the image's shape; 0 where `size` says.
        size: side of a window; 0 where `count` says.
        overlap: of neighbouring windows, at least; None for an eighth of a window.
    """

    count: int = 0
    size: int = 0
    overlap: int | None = None

    def check(self) -> "Windows":
        """Itself; ValueError for a request without a meaning."""
        if bool(self.count) == bool(self.size):
            raise ValueError(f"windows: got {self.count} windows of size {self.size}, expected one of the two")
        if self.count < 0:
            raise ValueError(f"windows: got {self.count}, expected 1 or more along each side of the image")
        if self.size and self.size < LEAST_SIDE:
            raise ValueError(f"window_size: got {self.size}, expected {LEAST_SIDE} pixels or more")
        if self.overlap is not None and self.overlap < 0:
            raise ValueError(f"overlap: got {self.overlap}, expected 0 pixels or more")
        if self.size and self.overlap is not None and self.overlap >= self.size:
            raise ValueError(f"overlap: got {self.overlap}, expected less than the window's {self.size} pixels")
        return self


@dataclasses.dataclass(frozen=True)
class Grid:
    """Windows on images of one size; they are numbered row by row.

    Attributes:
        frame: (height, width) of the images.
        area: (y, x, height, width) of what the windows cover, within the frame.
        window: (height, width) of each window.
        rows, columns: the first pixels of the windows, from the area's corner.
        side: of the square that a window becomes for the networks.
        filter: a key of `images.resize.FILTERS`, with which it does.
    """

    frame: tuple[int, int]
    area: tuple[int, int, int, int]
    window: tuple[int, int]
    rows: tuple[int, ...]
    columns: tuple[int, ...]
    side: int
    filter: str = "bilinear"

    @property
    def count(self) -> int:
        """How many windows there are."""
        return len(self.rows) * len(self.columns)

    @property
    def native(self) -> Native:
        """The size that images keep."""
        return Native(*self.frame)

    @property
    def map_shape(self) -> tuple[int, int]:
        """(height, width) of the joined map: the area as the networks see it."""
        height, width = (_in_map(length, window, self.side) for length, window in zip(self.area[2:], self.window))
        return height, width

    def corner(self, index: int) -> tuple[int, int]:
        """(y, x) of a window's first pixel, from the area's corner."""
        row, column = divmod(index, len(self.columns))
        return self.rows[row], self.columns[column]

    def describe(self) -> str:
        """In words, such as "17x25 windows of 256x256 pixels"."""
        height, width = self.window
        seen = "" if (height, width) == (self.side, self.side) else f", each seen at {self.side}x{self.side}"
        return f"{len(self.rows)}x{len(self.columns)} windows of {height}x{width} pixels (rows x columns){seen}"


def place_windows(
    requested: Windows,
    frame: tuple[int, int],
    *,
    side: int,
    filter: str = "bilinear",
    area: tuple[int, int, int, int] | None = None,
) -> Grid:
    """The windows of images of one size; each pixel of the area is in one or more of them.

    Args:
        requested: how many, or how large.
        frame: (height, width) of the images.
        side, filter: how a window becomes a square.
        area: (y, x, height, width) of what is inspected; None for all.

    Raises:
        ValueError: a request without a meaning, a window larger than the area, an overlap as large as a window.
    """
    requested.check()
    area = (0, 0, *frame) if area is None else area
    if requested.size:
        window = (requested.size, requested.size)
        if requested.size > min(area[2:]):
            raise ValueError(
                f"window_size: got {requested.size}, expected at most {min(area[2:])}: images of "
                f"{area[3]}x{area[2]} pixels are inspected"
            )
    else:
        height, width = (_window_length(length, requested.count, requested.overlap) for length in area[2:])
        window = height, width
    overlap = requested.size // OVERLAP if requested.overlap is None else requested.overlap
    rows, columns = (
        spaced(length, own, requested.count or least_count(length, own, overlap))
        for length, own in zip(area[2:], window)
    )
    return Grid(frame, area, window, rows, columns, side, filter)


def _window_length(length: int, count: int, overlap: int | None) -> int:
    """Side of `count` windows that cover a length and overlap as requested."""
    if overlap is None:  # count w - (count - 1) w / 8 = length
        window = math.ceil(length * OVERLAP / (OVERLAP * count - (count - 1)))
    else:
        window = math.ceil((length + (count - 1) * overlap) / count)
    if window < LEAST_SIDE or window > length or (count > 1 and overlap is not None and overlap >= window):
        raise ValueError(
            f"windows: got {count} along {length} pixels{'' if overlap is None else f' with an overlap of {overlap}'}, "
            f"which makes windows of {window}; expected fewer windows of {LEAST_SIDE} pixels or more, and a smaller "
            "overlap than a window"
        )
    return window


def least_count(length: int, window: int, overlap: int) -> int:
    """The fewest windows that cover a length and overlap by at least `overlap`."""
    return max(1, math.ceil((length - overlap) / (window - overlap)))


def spaced(length: int, window: int, count: int) -> tuple[int, ...]:
    """First pixels of so many windows, from one end of a length to the other, evenly spaced.

    >>> spaced(1000, 256, 5)
    (0, 186, 372, 558, 744)
    """
    return tuple(i * (length - window) // max(count - 1, 1) for i in range(count))


def cut_windows(image: np.ndarray, grid: Grid, indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """Windows of an image uint8 [h w 3] as the networks see them: uint8 [k side side 3]."""
    geometry, (height, width) = Geometry(grid.side, 0, grid.filter), grid.window
    squares = np.empty((len(indices), grid.side, grid.side, 3), np.uint8)
    for square, index in zip(squares, indices):
        y, x = (first + corner for first, corner in zip(grid.area, grid.corner(index)))
        square[:] = resize(image[y : y + height, x : x + width], geometry)
    return squares


class Joined:
    """One score map from those of the windows, given one after another: no more than one of them is kept.

    Where windows overlap, the map is their mean, weighted by the distance from each window's edge, so that there is no
    seam. Around the highest score it fades into the map of that score's own window, whose largest value it keeps.
    """

    def __init__(self, grid: Grid):
        self.grid = grid
        self.map = np.zeros(grid.map_shape, np.float32)
        self.best: tuple[float, np.ndarray, tuple[slice, slice]] | None = None
        self.weights = [
            _weights([_in_map(first, window, grid.side) for first in firsts], length, grid.side)
            for firsts, window, length in zip((grid.rows, grid.columns), grid.window, grid.map_shape)
        ]

    def add(self, index: int, score_map: np.ndarray) -> None:
        """The map of a window, floats [side side]."""
        row, column = divmod(index, len(self.grid.columns))
        rows, columns = (
            slice(first, first + self.grid.side)
            for first in (_in_map(n, w, self.grid.side) for n, w in zip(self.grid.corner(index), self.grid.window))
        )
        place = rows, columns
        self.map[place] += score_map * self.weights[0][row][:, None] * self.weights[1][column][None]
        if self.best is None or score_map.max() > self.best[0]:
            self.best = (float(score_map.max()), score_map.copy(), place)

    def result(self) -> np.ndarray:
        """The joined map, float32 [h w] (`Grid.map_shape`)."""
        if self.best is not None:
            highest, own, place = self.best
            peak = np.unravel_index(own.argmax(), own.shape)
            y, x = (np.exp(-(((np.arange(n) - at) / BUMP) ** 2) / 2) for n, at in zip(own.shape, peak))
            part = self.map[place]
            part += (y[:, None] * x[None]).astype(np.float32) * (own - part)
            part[peak] = highest
        return self.map


def _weights(firsts: Sequence[int], length: int, side: int) -> list[np.ndarray]:
    """For each window its share of every pixel along one axis, float32 [side]; the shares of a pixel add up to one."""
    tent = np.minimum(np.arange(1, side + 1), np.arange(side, 0, -1)).astype(np.float64)
    total = np.zeros(length)
    for first in firsts:
        total[first : first + side] += tent
    return [(tent / total[first : first + side]).astype(np.float32) for first in firsts]


def _in_map(pixels: int, window: int, side: int) -> int:
    """Pixels of the image as those of the map, rounded to the nearest, halves upwards."""
    return (2 * pixels * side + window) // (2 * window)


def grid_record(grid: Grid) -> dict[str, Any]:
    """A grid as JSON holds it."""
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(grid).items()
    }


def read_grid(record: Mapping[str, Any]) -> Grid:
    """What `grid_record` wrote."""
    fields: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in record.items()}
    return Grid(**fields)
