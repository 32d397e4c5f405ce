"""Pictures of one scored image for a page: small, at its own size, and its score map as a layer to lay over either."""

import base64
import io

import numpy as np
from PIL import Image

from gnl_jax.detection.detector import Detector
from gnl_jax.detection.inspection import Inspected
from gnl_jax.detection.windows import Grid
from gnl_jax.report.overlay import TOP, geometry_of, heatmap, in_source, read_native, seen, shown_threshold

SMALL, LAYER = 160, 256  # pixels of the longer side of a small picture, and of the score map's
LEVELS = 24  # of the score map's colours; a picture of so few compresses to next to nothing


def thumbnail(detector: Detector, result: Inspected) -> bytes:
    """The image at its own aspect, small, as a JPEG; `result` holds what the detector saw.

    That square, or the whole image with windows, is resized, which saves decoding the file once more. Where it was
    cropped or is smaller, the file is read.
    """
    kept, geometry = seen(result), geometry_of(detector)
    shape = within(kept.size, SMALL)
    whole = isinstance(geometry, Grid) or geometry.resized == geometry.size >= SMALL
    image = kept.image if whole else read_native(detector, result.path)
    return encoded(Image.fromarray(image).resize(shape[::-1], Image.Resampling.BILINEAR), "JPEG", quality=75)


def native(detector: Detector, path: str) -> bytes:
    """The image file at its own size, as the detector reads it, as a JPEG. Raises ImageError or OSError naming it."""
    return encoded(Image.fromarray(read_native(detector, path)), "JPEG", quality=90)


def map_layer(detector: Detector, result: Inspected) -> bytes:
    """The score map at the image's aspect as a PNG, clear up to the threshold; b"" where nothing exceeds it."""
    kept = seen(result)
    threshold = shown_threshold(detector.require_record(), kept.map)
    placed = in_source(kept.map, within(kept.size, LAYER), geometry_of(detector))
    above = placed > threshold
    if not above.any():
        return b""
    steps = np.clip((placed / max(threshold, 1e-12) - 1) / (TOP - 1), 0, 1) * (LEVELS - 1)
    picture = Image.fromarray(np.where(above, 1 + steps.round(), 0).astype(np.uint8))
    colours = heatmap(1 + (TOP - 1) * np.arange(LEVELS) / (LEVELS - 1), 1.0)
    picture.putpalette(np.concatenate([[[0, 0, 0]], colours]).astype(np.uint8).tobytes())
    return encoded(picture, "PNG", transparency=0, optimize=True)


def within(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(height, width) of the same aspect whose longer one is at most `side` pixels, and each at least one."""
    scale = min(1.0, side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    """An image as the content of a file."""
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def as_text(data: bytes) -> str:
    """Bytes in base64, which needs no escape anywhere in a page."""
    return base64.b64encode(data).decode("ascii")
