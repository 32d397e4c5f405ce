"""From an image of any shape to the square that networks see, on the host, as the published pipelines do it."""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped, UInt8
from PIL import Image

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "lanczos": Image.Resampling.LANCZOS}  # both anti-aliased


@dataclasses.dataclass(frozen=True)
class Geometry:
    """How images become squares: resized to `resize` pixels a side, of which the central `size` are kept.

    Attributes:
        size: side of the result in pixels.
        resize: side before the centre is cut out; 0 for `size`, where nothing is cut off.
        filter: a key of `FILTERS`.

    Raises:
        ValueError: a field without a meaning; it is named.
    """

    size: int
    resize: int = 0
    filter: str = "bilinear"

    def __post_init__(self):
        if self.size < 1:
            raise ValueError(f"size: got {self.size}, expected 1 or more")
        if self.resize != 0 and self.resize < self.size:
            raise ValueError(f"resize: got {self.resize}, expected 0 or at least the size {self.size}")
        if self.filter not in FILTERS:
            raise ValueError(f"filter: got {self.filter!r}, expected one of {', '.join(FILTERS)}")

    @classmethod
    def of(cls, size: "int | Geometry") -> "Geometry":
        """A `Geometry` as it is; a plain size as the geometry that cuts nothing off."""
        return size if isinstance(size, Geometry) else cls(size)

    @property
    def resized(self) -> int:
        """The side before the centre is cut out."""
        return self.resize or self.size

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the result."""
        return self.size, self.size


class Native(NamedTuple):
    """Images keep their own size, which is that of all of them, in pixels."""

    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of the result."""
        return self.height, self.width

    def wrong(self, size: tuple[int, int]) -> str:
        """What is wrong with an image of this (height, width), as a message; "" where nothing is."""
        if tuple(size) == self.shape:
            return ""
        return f"got {size[1]}x{size[0]} pixels, expected {self.width}x{self.height}, as all images with windows have"


def resize(image: UInt8[np.ndarray, "h w 3"], size: int | Geometry) -> UInt8[np.ndarray, "s s 3"]:
    """Makes an image a square with one of Pillow's anti-aliased filters; the aspect ratio is not kept.

    `size` is a side in pixels or a `Geometry`. Width first, then height, in two calls: within one call, newer versions
    of Pillow may take a tall image's axes in the other order, which moves values by one. Raises ValueError for another
    shape or type.
    """
    image, geometry = np.asarray(image), Geometry.of(size)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        raise ValueError(f"image: expected uint8 [h w 3], got {image.dtype} {list(image.shape)}")
    side, resampling = geometry.resized, FILTERS[geometry.filter]
    wide = Image.fromarray(image).resize((side, image.shape[0]), resampling)
    return centre(np.asarray(wide.resize((side, side), resampling)), geometry.size)


def resize_nearest(mask: Shaped[np.ndarray, "h w"], size: int | Geometry) -> Shaped[np.ndarray, "s s"]:
    """Makes a mask a square as `resize` makes its image, by the value at each new pixel's centre.

    `size` is a side in pixels or a `Geometry`.
    """
    geometry = Geometry.of(size)
    side = geometry.resized
    rows, columns = ((2 * np.arange(side) + 1) * n // (2 * side) for n in mask.shape)
    return centre(mask[np.ix_(rows, columns)], geometry.size)


def centre(x: Shaped[np.ndarray, "h w *c"], size: int) -> Shaped[np.ndarray, "{size} {size} *c"]:
    """The central square of x, contiguous in memory.

    Where the margins cannot be equal, the offset is rounded half to even, as by torchvision's CenterCrop.
    """
    top, left = (round((n - size) / 2) for n in x.shape[:2])
    return np.ascontiguousarray(x[top : top + size, left : left + size])
