"""An image with its score map on it, at the image's own size, and small pictures for pages."""

import base64
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from gnl_jax.data.load import folder_options
from gnl_jax.data.pixels import read_file, read_image
from gnl_jax.detection.boxes import map_axes
from gnl_jax.detection.detector import Detector
from gnl_jax.detection.inspection import Inspected
from gnl_jax.detection.record import Record
from gnl_jax.detection.windows import Grid
from gnl_jax.images.resize import Geometry

OPACITY = 0.5  # of the map above the threshold; below, the image shows as it is
TOP = 2.5  # thresholds at which the colours end
THICKNESS = 1 / 100  # of a contour, as a share of the image's shorter side: seen at arm's length
CONTOUR, HALO = (0, 114, 178), (255, 255, 255)  # Okabe and Ito's blue, edged in white: seen on dark and on light parts
# Dark to light with lightness rising evenly, so that it reads in grey and with every form of colour blindness.
_STOPS = np.array([(60, 10, 45), (140, 30, 50), (210, 75, 25), (245, 150, 30), (255, 240, 160)], np.float64)


def heatmap(score_map: np.ndarray, threshold: float) -> np.ndarray:
    """Colours of a score map [h w], uint8 [h w 3]: darkest at the review threshold, lightest at `TOP` times it."""
    value = np.clip((score_map / max(threshold, 1e-12) - 1) / (TOP - 1), 0, 1) * (len(_STOPS) - 1)
    channels = [np.interp(value, np.arange(len(_STOPS)), _STOPS[:, c]) for c in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def in_source(score_map: np.ndarray, source: tuple[int, int], geometry: Geometry | Grid) -> np.ndarray:
    """A score map on the pixels of the image that it is of, float32 [h w]; zero where nothing was inspected.

    source: (height, width) of the image, or of a smaller copy; geometry: how it became what the networks see.
    """
    edges = []
    for axis, n in zip(map_axes(geometry, source), score_map.shape):
        ends = (int(axis.cut), int(axis.cut) + n)
        edges.append([axis.first + round(end * axis.length / axis.resized) for end in ends])
    (top, bottom), (left, right) = [(low, max(low + 1, high)) for low, high in edges]
    result = np.zeros(source, np.float32)
    if isinstance(geometry, Grid) and bottom - top < score_map.shape[0]:
        result[top:bottom, left:right] = _shrunk(score_map, (bottom - top, right - left))
        return result
    inner = Image.fromarray(np.asarray(score_map, np.float32))
    result[top:bottom, left:right] = np.asarray(inner.resize((right - left, bottom - top), Image.Resampling.BILINEAR))
    return result


def _shrunk(score_map: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A large map [h w] as a small one: each pixel is the largest of those it stands for, as a mean hides peaks."""
    for axis, n in enumerate(shape):
        if n < score_map.shape[axis]:
            score_map = np.maximum.reduceat(score_map, np.arange(n) * score_map.shape[axis] // n, axis=axis)
        else:
            score_map = np.take(score_map, np.arange(n) * score_map.shape[axis] // n, axis=axis)
    return score_map


def shown_threshold(record: Record, maps: np.ndarray) -> float:
    """The review threshold that pictures are coloured by; without one, half the largest value of the maps shown."""
    _, threshold = record.thresholds
    return float(np.max(maps)) / 2 if threshold is None else threshold


def overlay(image: np.ndarray, score_map: np.ndarray, threshold: float) -> np.ndarray:
    """An image uint8 [h w 3] with its map, floats [h w]: colours and a contour where the map exceeds the threshold."""
    above = score_map > threshold
    result = image.copy()
    mixed = (1 - OPACITY) * image[above] + OPACITY * heatmap(score_map[above], threshold)
    result[above] = mixed.round().astype(np.uint8)
    width = max(1, round(THICKNESS * min(above.shape)))
    outside = ndimage.distance_transform_edt(~above) if above.any() else np.full(above.shape, np.inf)
    result[(outside > width) & (outside <= width + max(1, width // 2))] = HALO
    result[(outside > 0) & (outside <= width)] = CONTOUR
    return result


def labelled(image: np.ndarray, *, threshold: float, score: float, decision: str) -> np.ndarray:
    """An overlay with a strip below: score and decision, and the colour bar with the threshold marked."""
    height, width = image.shape[:2]
    text = max(11, round(min(height, width) / 24))
    font = ImageFont.load_default(size=text)
    lines = [f"{decision}  score {score:.4g}", f"threshold {threshold:.4g}"]
    needed = max(round(font.getlength(line)) for line in lines) + 2 * text
    canvas = Image.new("RGB", (max(width, needed), height + round(5.2 * text)), (255, 255, 255))
    canvas.paste(Image.fromarray(image), (0, 0))
    draw = ImageDraw.Draw(canvas)
    draw.text((text // 2, height + text // 4), lines[0], (0, 0, 0), font)
    # The bar goes from zero to the colours' end; what the picture leaves clear is grey.
    left, right, top = text // 2, canvas.width - text // 2, height + round(1.9 * text)
    scale = TOP * np.arange(right - left) / max(right - left - 1, 1)
    bar = np.where((scale > 1)[:, None], heatmap(scale, 1.0), 225).astype(np.uint8)
    canvas.paste(Image.fromarray(np.broadcast_to(bar, (text, *bar.shape)).copy()), (left, top))
    mark = left + round((right - left) / TOP)
    draw.rectangle([mark - max(1, text // 10), top - text // 4, mark, top + text + text // 4], (0, 0, 0))
    draw.text((mark, top + round(1.4 * text)), lines[1], (0, 0, 0), font, anchor="ma" if 3 * needed < width else "la")
    return np.asarray(canvas)


def read_native(detector: Detector, path: str) -> np.ndarray:
    """A file as the detector reads it, at its own size: uint8 [h w 3]."""
    dataset = detector.require_record().config.dataset.copy_and_resolve_references()
    dataset.root = "."
    options = folder_options(dataset, seed=0)
    return read_image(read_file(path), name=path, white=options.white, alpha=options.alpha)


def geometry_of(detector: Detector) -> Geometry | Grid:
    """How images become what the detector's networks see."""
    return detector.require_record().geometry


class Seen(NamedTuple):
    """What the detector saw in an image, and the (height, width) of the image as it came (`Inspected`)."""

    image: np.ndarray
    map: np.ndarray
    size: tuple[int, int]
    score: float


def seen(result: Inspected) -> Seen:
    """What `inspect(..., keep=True)` holds of an image; ValueError for a result without it."""
    if result.image is None or result.map is None or result.size is None or result.score is None:
        raise ValueError(f"{result.path}: got a result without image and map, expected one of inspect(..., keep=True)")
    return Seen(result.image, result.map, result.size, result.score)


def write_overlay(path: Path, detector: Detector, result: Inspected) -> None:
    """Writes the file's image with its map as a PNG, at the file's own size; `result` holds the map."""
    kept = seen(result)
    threshold = shown_threshold(detector.require_record(), kept.map)
    image = read_native(detector, result.path)
    shown = overlay(image, in_source(kept.map, image.shape[:2], geometry_of(detector)), threshold)
    path.parent.mkdir(parents=True, exist_ok=True)
    strip = labelled(shown, threshold=threshold, score=kept.score, decision=result.decision)
    Image.fromarray(strip).save(path)


def small(image: np.ndarray, side: int) -> np.ndarray:
    """An image uint8 [h w 3] of at most `side` pixels a side, its aspect kept."""
    shrunk = Image.fromarray(image)
    shrunk.thumbnail((side, side), Image.Resampling.BILINEAR)
    return np.asarray(shrunk)


def picture(image: np.ndarray, side: int) -> str:
    """`small` as a data URI (JPEG)."""
    data = io.BytesIO()
    Image.fromarray(small(image, side)).save(data, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode("ascii")
