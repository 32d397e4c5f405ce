"""Boxes around what is anomalous in a score map, with NumPy alone: those of `detection.boxes.defect_boxes`."""

import math

import numpy as np

from gnl_jax.detection.boxes import Axis


def boxes(score_map: np.ndarray, threshold: float, axes: tuple[Axis, Axis]) -> list[tuple[int, int, int, int]]:
    """(x, y, width, height) around the connected regions of a map [h w] above a threshold, largest peak first.

    Touching corners connect. axes: how the map lies on the image.
    """

    def span(first: int, last: int, axis: Axis) -> tuple[int, int]:
        scale, cut = axis.length / axis.resized, round(axis.cut)
        begin, end = math.floor((first + cut) * scale), math.ceil((last + 1 + cut) * scale)
        return axis.first + begin, max(1, min(end, axis.length) - begin)

    found = []
    for rows, columns in regions(score_map > threshold):
        y, height = span(rows.min(), rows.max(), axes[0])
        x, width = span(columns.min(), columns.max(), axes[1])
        found.append((-float(score_map[rows, columns].max()), (x, y, width, height)))
    return [box for _, box in sorted(found, key=lambda item: item[0])]


def regions(mask: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rows, columns) of each connected region of a mask bool [h w], corners connecting, by its first pixel."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:  # each pixel takes the smallest label around it, and then that of the pixel it was named after
        padded = np.pad(np.where(labels, labels, mask.size + 1), 1, constant_values=mask.size + 1)
        h, w = mask.shape
        around = np.min([padded[i : i + h, j : j + w] for i in range(3) for j in range(3)], axis=0)
        smaller = np.where(mask, around, 0)
        named = np.concatenate([[0], smaller.ravel()])
        while not np.array_equal(named, named[named]):
            named = named[named]
        smaller = named[smaller]
        if np.array_equal(smaller, labels):
            break
        labels = smaller
    found = (np.nonzero(labels == label) for label in np.unique(labels[mask]))
    return [(rows, columns) for rows, columns in found]
