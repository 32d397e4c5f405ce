"""Where the defect is, in the pixels of the image as it came: boxes, and the score map at that size."""

import math

import numpy as np
from PIL import Image
from scipy import ndimage

from gnl_jax.images.resize import Geometry

Box = tuple[int, int, int, int]


def defect_boxes(score_map: np.ndarray, threshold: float, *, source: tuple[int, int], geometry: Geometry) -> list[Box]:
    """Boxes (x, y, width, height) around the connected regions of a score map above a threshold, largest peak first.

    score_map: floats [s s]; source: (height, width) of the image before `resize` by this geometry. An image whose score
    does not exceed the threshold has no box, for its score is the map's largest value. Touching corners connect.
    """
    labels, n = ndimage.label(score_map > threshold, structure=np.ones((3, 3)))
    regions = ndimage.find_objects(labels)
    peaks = ndimage.maximum(score_map, labels, range(1, n + 1)) if n else ()
    order = sorted(range(n), key=lambda i: (-peaks[i], i))
    return [_in_source(regions[i], source, geometry) for i in order]


def frame_map(score_map: np.ndarray, *, source: tuple[int, int], geometry: Geometry) -> np.ndarray:
    """A score map in the pixels of the image it is of: floats [s s] -> float32 [height width], bilinear.

    source: (height, width) of the image before `resize` by this geometry. What the resize cut off has the value 0.
    """
    cut = round((geometry.resized - geometry.size) / 2)
    whole = np.zeros((geometry.resized, geometry.resized), np.float32)
    whole[cut : cut + geometry.size, cut : cut + geometry.size] = score_map
    return np.asarray(Image.fromarray(whole).resize(source[::-1], Image.Resampling.BILINEAR))


def _in_source(region: tuple[slice, slice], source: tuple[int, int], geometry: Geometry) -> Box:
    cut = round((geometry.resized - geometry.size) / 2)
    spans = []
    for along, length in zip(region, source):
        scale = length / geometry.resized
        begin, end = math.floor((along.start + cut) * scale), math.ceil((along.stop + cut) * scale)
        spans.append((begin, max(1, min(end, length) - begin)))
    (y, height), (x, width) = spans
    return x, y, width, height
