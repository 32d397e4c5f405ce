"""An image with its score map on it, and small pictures for pages."""

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from gnl_jax.detection.boxes import defect_boxes
from gnl_jax.detection.detector import Detector
from gnl_jax.detection.inspection import Inspected
from gnl_jax.detection.record import Record
from gnl_jax.images.resize import Geometry

OPACITY = 0.55  # of the map where it is far above the threshold
FRAME = (0, 114, 178)  # Okabe and Ito's blue: boxes, on a map that is black, red and yellow
# Dark to light with lightness rising evenly, so that it reads in grey and with every form of colour blindness.
_STOPS = np.array([(0, 0, 0), (90, 15, 60), (190, 55, 30), (245, 140, 20), (255, 240, 160)], np.float64)


def heatmap(score_map: np.ndarray, threshold: float) -> np.ndarray:
    """Colours of a score map [h w], uint8 [h w 3]: black up to half the review threshold, lightest at twice it."""
    value = np.clip((score_map / max(threshold, 1e-12) - 0.5) / 1.5, 0, 1) * (len(_STOPS) - 1)
    channels = [np.interp(value, np.arange(len(_STOPS)), _STOPS[:, c]) for c in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def overlay(image: np.ndarray, score_map: np.ndarray, threshold: float) -> np.ndarray:
    """The heat map on the image, the stronger the higher the score, and frames around what exceeds the threshold."""
    strength = OPACITY * np.clip((score_map / max(threshold, 1e-12) - 0.5) / 0.5, 0, 1)[..., None]
    result = ((1 - strength) * image + strength * heatmap(score_map, threshold)).round().astype(np.uint8)
    side = len(score_map)
    for x, y, w, h in defect_boxes(score_map, threshold, source=(side, side), geometry=Geometry(side)):
        result[[y, y + h - 1], x : x + w] = FRAME
        result[y : y + h, [x, x + w - 1]] = FRAME
    return result


def shown_threshold(record: Record, maps: np.ndarray) -> float:
    """The review threshold that pictures are coloured by; without one, half the largest value of the maps shown."""
    _, threshold = record.thresholds
    return float(np.max(maps)) / 2 if threshold is None else threshold


def write_overlay(path: Path, detector: Detector, result: Inspected) -> None:
    """Writes image and overlay side by side as a PNG; `result` holds image and map."""
    threshold = shown_threshold(detector.require_record(), result.map)
    both = np.concatenate([result.image, overlay(result.image, result.map, threshold)], axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(both).save(path)


def picture(image: np.ndarray, side: int) -> str:
    """An image uint8 [h w 3] of at most `side` pixels a side, as a data URI (JPEG)."""
    small = Image.fromarray(image)
    small.thumbnail((side, side), Image.Resampling.BILINEAR)
    data = io.BytesIO()
    small.save(data, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode("ascii")
