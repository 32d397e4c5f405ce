"""One image as people have it, in a file, in memory or in an array, as uint8 RGB: the same pixels from each form."""

import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, TypedDict

import numpy as np
from PIL import Image, ImageOps

from gnl_jax.data.decode import ImageError, Samples
from gnl_jax.data.pixels import Alpha, read_file, read_image, to_rgb

CHANNELS = ("rgb", "bgr")
_CONTENT = (bytes, bytearray, memoryview)
_EXPECTED = "expected a path, the bytes of a file, a PIL image, or an array [h w], [h w 3] or [h w 4]"


# An array is one image or several, by its shape.
One = str | os.PathLike | bytes | Image.Image
Several = list[Any] | tuple[Any, ...] | Iterator[Any]


class Options(TypedDict, total=False):
    """The options of `inspection.inspect`."""

    white: float | None
    channels: str
    keep: bool
    maps: bool
    ahead: int | None
    workers: int | None


class Reading(NamedTuple):
    """How a frame becomes uint8 RGB.

    Attributes:
        white: the value that is white in files of more than 8 bits; None for that of the file's format.
        alpha: what to do with transparency, as for `read_image`.
        array_white: the same for arrays and PIL images of more than 8 bits; None for `white`, or 65535 in uint16.
        channels: order of an array's colours, "rgb" or "bgr".
    """

    white: float | None = None
    alpha: Alpha = "error"
    array_white: float | None = None
    channels: str = "rgb"

    def check(self) -> "Reading":
        """Itself; ValueError for `array_white` or `channels` without a meaning."""
        if self.array_white is not None and not 0 < self.array_white < np.inf:
            raise ValueError(f"white: got {self.array_white!r}, expected a positive number, such as 1.0, or None")
        if self.channels not in CHANNELS:
            raise ValueError(f"channels: got {self.channels!r}, expected one of {', '.join(CHANNELS)}")
        return self


def is_one_image(source: Any) -> bool:
    """Whether this is one image rather than several: a path is one, an array [n h w c] or [n] is several."""
    if isinstance(source, (str, os.PathLike, Image.Image, *_CONTENT)):
        return True
    if hasattr(source, "__array__"):
        return np.ndim(source) not in (1, 4)
    return not isinstance(source, Iterable)


def frames_of(source: Iterable) -> Iterator:
    """The images of a stack or of any iterable, one at a time."""
    return iter(_as_array(source) if hasattr(source, "__array__") else source)


def snapshot(item: Any) -> Any:
    """The image as it is now: a camera may write the next frame into the same buffer while this one waits."""
    if isinstance(item, (bytearray, memoryview)):
        return bytes(item)
    if isinstance(item, Image.Image):
        return _picture(item)
    return np.array(_as_array(item)) if hasattr(item, "__array__") else item


def frame_name(item: Any, position: int) -> str:
    """A path as it was given, "image N" for anything else."""
    return os.fsdecode(item) if isinstance(item, (str, os.PathLike)) else f"image {position}"


def read_frame(item: Any, *, name: str, reading: Reading) -> np.ndarray:
    """One image as uint8 [h w 3].

    Args:
        item: a path; the bytes of a file; a PIL image; an array [h w], [h w 1], [h w 3] or [h w 4] (the last channel is
            opacity), uint8 or uint16, or of another type where `reading.array_white` says what is white.
        name: for messages.
        reading: what its values mean.

    Raises:
        ImageError: what cannot be used as an image; it is named, with the reason.
    """
    if isinstance(item, (str, os.PathLike)):
        return read_image(read_file(item), name=name, white=reading.white, alpha=reading.alpha)
    if isinstance(item, _CONTENT):
        return read_image(bytes(item), name=name, white=reading.white, alpha=reading.alpha)
    try:
        return to_rgb(_samples(item, reading), white=reading.array_white or reading.white, alpha=reading.alpha)
    except ImageError as error:
        raise ImageError(f"{name}: {error}") from error


def _samples(item: Any, reading: Reading) -> Samples:
    if isinstance(item, Samples):  # a snapshot of a PIL image
        return item
    if isinstance(item, Image.Image):
        return _picture(item)
    if hasattr(item, "__array__"):
        return _array_samples(_as_array(item), reading)
    raise ImageError(f"got {type(item).__name__}, {_EXPECTED}")


def _as_array(item: Any) -> np.ndarray:
    try:
        return np.asarray(item)
    except Exception as error:  # an array of another library, on another device or needing a gradient
        raise ImageError(f"{type(item).__name__} is no NumPy array and cannot become one: {error}") from error


def _picture(image: Image.Image) -> Samples:
    """A PIL image's samples, copied, turned as its EXIF tag says; ImageError for one that cannot be decoded."""
    try:
        if (frames := getattr(image, "n_frames", 1)) > 1:
            raise ImageError(f"{frames} frames or pages, expected one image")
        turned = ImageOps.exif_transpose(image)
        if turned.mode.startswith("I;16"):
            return Samples(np.array(turned).astype(np.uint16), None, 65535)
        if turned.mode in ("I", "F"):
            values = np.array(turned)
            if not np.isfinite(values).all():
                raise ImageError("NaN or infinite values")
            return Samples(values, None, None)
        if not turned.has_transparency_data:
            return Samples(np.array(turned.convert("RGB")), None, 255)
        values = np.array(turned.convert("RGBA"))
        return Samples(values[..., :3], values[..., 3], 255)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # what Pillow raises for a broken file is an open set
        raise ImageError(f"broken or unsupported image: {str(error) or type(error).__name__}") from error


def _array_samples(values: np.ndarray, reading: Reading) -> Samples:
    channels = values.shape[2] if values.ndim == 3 else 1
    if values.ndim not in (2, 3) or channels not in (1, 3, 4) or 0 in values.shape:
        stack = "; a stack of grey images is given as list(images)" if values.ndim == 3 else ""
        raise ImageError(f"got {values.dtype} {list(values.shape)}, expected [h w], [h w 3] or [h w 4]{stack}")
    white = _white(values, reading.array_white)
    if channels == 1:
        return Samples(values.reshape(values.shape[:2]), None, white)
    colour, opacity = values[..., :3], values[..., 3] if channels == 4 else None
    return Samples(colour[..., ::-1] if reading.channels == "bgr" else colour, opacity, white)


def _white(values: np.ndarray, white: float | None) -> float:
    """What is white in an array by its type or by `white`; ImageError where neither says, or values are beyond it."""
    if values.dtype == np.uint8:
        return 255
    if values.dtype == np.uint16:
        return white or 65535
    if values.dtype.kind not in "uif":
        raise ImageError(f"got an array of {values.dtype}, expected uint8, uint16 or floats")
    if white is None:
        raise ImageError(f"got an array of {values.dtype}; set `white` to the value that is white, 1.0 for [0, 1]")
    low, high = values.min(), values.max()
    step = white / 510  # half a level of 8 bits, as rounding leaves
    if not (-step <= low and high <= white + step):  # NaN is caught here too
        raise ImageError(f"got values from {low:g} to {high:g}, expected 0 to {white:g}")
    return white
