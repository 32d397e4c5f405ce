"""From the content of an image file to its samples, at the file's own precision."""

import io
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

# First bytes to decoder. `Image.open` would find the same one, but it warns from 89 megapixels on, and it
# takes a phone's JPEG with a preview inside for several images.
_DECODERS: dict[bytes, Callable[[io.BytesIO], ImageFile.ImageFile]] = {
    b"\x89PNG\r\n\x1a\n": PngImageFile,
    b"\xff\xd8\xff": JpegImageFile,
    b"BM": BmpImageFile,
    b"II*\0": TiffImageFile,
    b"MM\0*": TiffImageFile,
    b"II+\0": TiffImageFile,
    b"MM\0+": TiffImageFile,
    b"RIFF": WebPImageFile,
    b"GIF8": GifImageFile,
}

# Pillow keeps the upper byte of a 16-bit colour sample. Told of the other byte order, it keeps the lower one
# ("N" is the machine's order: little-endian on all that JAX runs on).
_LOWER_BYTE = {
    f"{channels};16{order}": f"{channels};16{other}"
    for channels in ("RGB", "RGBA", "RGBX")
    for order, other in (("B", "L"), ("L", "B"), ("N", "B"))
}
_GREY_WHITE = {"I;12": 4095} | dict.fromkeys(("I;16", "I;16B", "I;16N", "I;16R"), 65535)

_FILTERS = threading.Lock()  # for the process's warning filters
_BITS, _PHOTOMETRIC, _SAMPLES, _PLANAR, _SAMPLE_FORMAT = 258, 262, 277, 284, 339  # TIFF tags


class ImageError(ValueError):
    """A file that cannot be used as an image; the message gives the reason."""


class UnusableFiles(ImageError):
    """Several files that cannot be used: all of them are named, each with its reason.

    Attributes:
        files: path and reason of each.
    """

    def __init__(self, files: Sequence[tuple[str, str]], *, total: int, what: str, remedy: str = ""):
        self.files = tuple(files)
        reasons = "".join(f"\n  {reason}" for _, reason in self.files)
        super().__init__(f"{len(self.files)} of {total} {what} cannot be used{remedy}:{reasons}")


class Samples(NamedTuple):
    """A decoded file.

    Attributes:
        colour: [h w 3], or [h w] where it is grey; uint8 where the file has at most 8 bits.
        opacity: [h w], None where the file has no transparency.
        white: the value that is white (and opaque), None where the format does not say.
    """

    colour: np.ndarray
    opacity: np.ndarray | None
    white: float | None


def decode(data: bytes, *, max_megapixels: float = 100) -> Samples:
    """Decodes a PNG, JPEG, BMP, TIFF, WebP or GIF file of one frame, turned as its EXIF tag says.

    Of a JPEG with several pictures (MPO) this is the first, as its standard has it. Colour profiles are not
    applied.

    Args:
        data: the file's content.
        max_megapixels: a larger image is refused before it is decoded.

    Raises:
        ImageError: broken, unsupported, too large, several frames, NaN or infinity.
    """
    try:
        image = _open(data)
        width, height = image.size
        if width * height > max_megapixels * 1e6:
            raise ImageError(f"{width}x{height} pixels, more than {max_megapixels:g} megapixels")
        if (frames := getattr(image, "n_frames", 1)) > 1:
            raise ImageError(f"{frames} frames or pages, expected one image")
        if isinstance(image, TiffImageFile) and width * height > (Image.MAX_IMAGE_PIXELS or np.inf):
            with _FILTERS, warnings.catch_warnings():  # Pillow warns of the size when it loads a TIFF
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                return _samples(image, data)
        return _samples(image, data)
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise ImageError(f"more than {max_megapixels:g} megapixels: {error}") from error
    except Exception as error:  # what Pillow raises for a broken file is an open set
        raise ImageError(f"broken or unsupported image: {str(error) or type(error).__name__}") from error


def _open(data: bytes) -> ImageFile.ImageFile:
    if not data:
        raise ImageError("the file is empty")
    for start, decoder in _DECODERS.items():
        if data.startswith(start):
            return decoder(io.BytesIO(data))
    raise ImageError(f"not a PNG, JPEG, BMP, TIFF, WebP or GIF image: it starts with {data[:8]!r}")


def _samples(image: ImageFile.ImageFile, data: bytes) -> Samples:
    """The samples of an image that `_open(data)` gave."""
    if isinstance(image, TiffImageFile):
        _check_tiff(image)
    layout = _layout(image)
    if layout == "LA;16B":  # of PNG files; read as four 8-bit channels: upper and lower byte of L, then of A
        grey_alpha = _joined(*np.moveaxis(_load(image, "RGBA").reshape(*image.size[::-1], 2, 2), 3, 0))
        return Samples(grey_alpha[..., 0], grey_alpha[..., 1], 65535)
    if layout in _LOWER_BYTE:
        values = _joined(_load(image), _load(_open(data), _LOWER_BYTE[layout]))
        opacity = values[..., 3] if values.shape[2] == 4 else _colour_key(values, image)
        return Samples(values[..., :3], opacity, 65535)
    if layout in _GREY_WHITE:
        values = _load(image).astype(np.uint16)
        return Samples(values, _colour_key(values[..., None], image), _GREY_WHITE[layout])
    if image.mode in ("I", "F"):
        return Samples(_load_wide(image), None, None)
    if ";16" in layout:
        raise ImageError(f"16-bit {image.mode} samples are not supported")
    return _eight_bit(image)


def _layout(image: ImageFile.ImageFile) -> str:
    """Pillow's name for the way samples are stored, such as "RGB;16B"; empty where it has none."""
    names = {args[0] if isinstance(args, tuple) and args else args for _, _, _, args in image.tile}
    name = names.pop() if len(names) == 1 else ""
    return name if isinstance(name, str) else ""


def _load(image: ImageFile.ImageFile, layout: str | None = None) -> np.ndarray:
    """The turned image as an array; with `layout`, its samples are read as if stored that way."""
    if layout is not None:
        image.tile = [
            tile._replace(args=layout if isinstance(tile.args, str) else (layout, *(tile.args or ())[1:]))
            for tile in image.tile
        ]
    ImageOps.exif_transpose(image, in_place=True)
    return np.asarray(image)


def _joined(upper: np.ndarray, lower: np.ndarray) -> np.ndarray:
    return upper.astype(np.uint16) << 8 | lower


def _colour_key(values: np.ndarray, image: Image.Image) -> np.ndarray | None:
    """Opacity of a 16-bit PNG file in which one colour is transparent."""
    key = image.info.get("transparency")
    return None if key is None else np.where(np.all(values == key, axis=2), 0, 65535).astype(np.uint16)


def _load_wide(image: ImageFile.ImageFile) -> np.ndarray:
    values = _load(image)
    if not np.isfinite(values).all():
        raise ImageError("NaN or infinite values")
    unsigned = isinstance(image, TiffImageFile) and image.tag_v2.get(_SAMPLE_FORMAT, (1,)) == (1,)
    return values.view(np.uint32) if unsigned and values.dtype == np.int32 else values


def _eight_bit(image: Image.Image) -> Samples:
    ImageOps.exif_transpose(image, in_place=True)
    if not image.has_transparency_data:
        return Samples(np.asarray(image.convert("RGB")), None, 255)
    values = np.asarray(image.convert("RGBA"))
    return Samples(values[..., :3], values[..., 3], 255)


def _check_tiff(image: TiffImageFile) -> None:
    """Refuses the TIFF files that Pillow (13.0, checked) reads without complaint, but wrongly."""
    tags = image.tag_v2
    bits = max(tags.get(_BITS, (1,)))
    if bits == 8 and 2 in tags.get(_SAMPLE_FORMAT, ()):
        raise ImageError("signed 8-bit samples are not supported")
    if bits <= 8:
        return
    if tags.get(_PHOTOMETRIC) == 0:
        raise ImageError(f"{bits}-bit samples with white as zero are not supported")
    if tags.get(_PLANAR) == 2 and tags.get(_SAMPLES, 1) > 1:
        raise ImageError(f"{bits}-bit samples in separate planes are not supported")
    if image.mode in ("I", "F") and tags.prefix == b"MM" and image.info["compression"] != "raw":
        raise ImageError("compressed big-endian samples of this type are not supported")
