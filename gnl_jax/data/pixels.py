"""What a pixel means: any image file as uint8 RGB, by one stated rule for each kind of file."""

import hashlib
import os
import stat
from pathlib import Path

import numpy as np

from gnl_jax.data.decode import ImageError, Samples, decode

Alpha = str | tuple[int, int, int]


def read_image(
    source: str | os.PathLike | bytes,
    *,
    name: str | None = None,
    white: float | None = None,
    alpha: Alpha = "error",
    max_megapixels: float = 100,
) -> np.ndarray:
    """Reads a PNG, JPEG, BMP, TIFF, WebP or single-frame GIF file as RGB, turned as its EXIF tag says.

    Up to 8 bits per sample: as Pillow converts it, grey, bilevel, palette and CMYK files included. More bits:
    `to_uint8`, with the file format's white (65535 at 16 bits, 4095 at 12) or `white`.

    Args:
        source: a path, or the content of a file.
        name: of the file, for messages; the path if left out.
        white: the value that becomes 255 in files of more than 8 bits; floating point, signed and 32-bit
            files need it. One for all images: scaling each by its own range would hide a change of lighting.
        alpha: what to do where an image is not opaque: "error", "drop" (take the colour as stored), or the
            colour of a background, three integers 0 to 255.
        max_megapixels: a larger image is refused before it is decoded.

    Returns:
        uint8 [h w 3].

    Raises:
        ImageError: a file that cannot be read or decoded, is too large, has several frames, NaN or infinity,
            no known white, or transparency; the file and the reason are named.
        ValueError: an invalid option.
    """
    check_options(white=white, alpha=alpha, max_megapixels=max_megapixels)
    data = source if isinstance(source, bytes) else read_file(source)
    try:
        return to_rgb(decode(data, max_megapixels=max_megapixels), white=white, alpha=alpha)
    except ImageError as error:
        name = name or ("image" if isinstance(source, bytes) else os.fsdecode(source))
        raise ImageError(f"{name!r}: {error}") from error


def to_rgb(samples: Samples, *, white: float | None, alpha: Alpha) -> np.ndarray:
    """Samples as uint8 [h w 3], by the rules of `read_image`, which has the arguments; `ImageError` says why not."""
    return _blended(samples, _colour(samples, white), alpha)


def read_file(path: str | os.PathLike) -> bytes:
    """The content of a file, or of what has `read_bytes` itself; `ImageError` names what cannot be read, and why."""
    try:
        if not isinstance(path, Path) and hasattr(path, "read_bytes"):
            return path.read_bytes()
        mode = os.stat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # a pipe would wait for ever, a device never end
            raise ImageError(f"{os.fsdecode(path)!r}: not a regular file")
        return Path(path).read_bytes()
    except OSError as error:
        raise ImageError(f"{os.fsdecode(path)!r}: {error.strerror or error}") from error
    except ValueError as error:  # a zero byte in the name, or one that the file system's encoding lacks
        raise error if isinstance(error, ImageError) else ImageError(f"{path!r}: no name of a file: {error}") from error


def check_options(*, white: float | None, alpha: Alpha, max_megapixels: float) -> None:
    """Raises `ValueError` for an option of `read_image` that has no meaning."""
    if white is not None and not 0 < white < np.inf:
        raise ValueError(f"white: got {white!r}, expected a positive number, or None")
    if alpha not in ("error", "drop") and not (
        isinstance(alpha, tuple) and len(alpha) == 3 and all(v in range(256) for v in alpha)
    ):
        raise ValueError(f"alpha: got {alpha!r}, expected 'error', 'drop' or three integers from 0 to 255")
    if not max_megapixels > 0:
        raise ValueError(f"max_megapixels: got {max_megapixels!r}, expected a positive number")


def check_array(images: np.ndarray, *, name: str = "images") -> None:
    """Raises `ValueError` unless `images` is a NumPy array uint8 [h w 3] or [n h w 3], n alone may be 0."""
    if not isinstance(images, np.ndarray):
        raise ValueError(f"{name}: got {type(images).__name__}, expected a NumPy array uint8 [h w 3] or [n h w 3]")
    shape = images.shape
    if images.dtype != np.uint8 or len(shape) not in (3, 4) or shape[-1] != 3 or 0 in shape[-3:]:
        raise ValueError(f"{name}: got {images.dtype} {list(shape)}, expected RGB, uint8 [h w 3] or [n h w 3]")


def pixel_hash(image: np.ndarray) -> str:
    """SHA-256 of an image's shape and pixels, uint8 [h w 3]; hexadecimal."""
    return hashlib.sha256(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()


def to_uint8(values: np.ndarray, white: float) -> np.ndarray:
    """Scales to 8 bits: floor(255 v / white + 1/2), limited to 0 and 255.

    With white = 65535 this is v / 257, rounded to the nearest integer.

    Args:
        values: real numbers, any shape.
        white: what becomes 255.

    Returns:
        uint8, the same shape.
    """
    if values.dtype == np.uint16:
        return to_uint8(np.arange(65536), white)[values]
    return np.clip(np.floor(values.astype(np.float64) * 255 / white + 0.5), 0, 255).astype(np.uint8)


def range_warning(peak: int, *, name: str) -> str | None:
    """What to tell a user whose whole folder stays within an eighth of the range; None where it does not.

    Args:
        peak: the largest value of all the folder's images, 0 to 255.
        name: of the folder.
    """
    if peak >= 32:
        return None
    return (
        f"{name}: no value above {peak} of 255 in the whole folder. Images of more than 8 bits that do not "
        "use their whole range need their white level (white=4095 for 12-bit values)"
    )


def _colour(samples: Samples, white: float | None) -> np.ndarray:
    colour = samples.colour
    if colour.dtype != np.uint8:
        level = white or samples.white
        if level is None:
            raise ImageError(f"{colour.dtype} values, whose white level is not known; set `white`")
        colour = to_uint8(colour, level)
    return colour if colour.ndim == 3 else np.repeat(colour[..., None], 3, axis=2)


def _blended(samples: Samples, colour: np.ndarray, alpha: Alpha) -> np.ndarray:
    if alpha == "drop" or samples.opacity is None or (samples.opacity == samples.white).all():
        return colour
    if alpha == "error":
        raise ImageError("has transparent pixels; set `alpha` to 'drop' or to the colour of a background")
    assert samples.white is not None  # what says how opaque a pixel is says what is opaque
    opacity = to_uint8(samples.opacity, samples.white).astype(np.int32)[..., None]
    background = np.array(alpha, np.int32)
    return ((colour * opacity + background * (255 - opacity) + 127) // 255).astype(np.uint8)
