"""Boxes around what is anomalous in a score map, with NumPy alone: those of `detection.boxes.defect_boxes`."""

import numpy as np

from gnl_jax.detection.boxes import Axis, span


def boxes(score_map: np.ndarray, threshold: float, axes: tuple[Axis, Axis]) -> list[tuple[int, int, int, int]]:
    """(x, y, width, height) around the connected regions of a map [h w] above a threshold, largest peak first.

    Touching corners connect. axes: how the map lies on the image.
    """
    found = []
    for rows, columns in regions(score_map > threshold):
        (y, height), (x, width) = (
            span(axis, int(along.min()), int(along.max()) + 1) for axis, along in zip(axes, (rows, columns))
        )
        found.append((-float(score_map[rows, columns].max()), (x, y, width, height)))
    return [box for _, box in sorted(found, key=lambda item: item[0])]


def regions(mask: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rows, columns) of each connected region of a mask bool [h w], corners connecting, by its first pixel."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return []
    line = mask.shape[1] + 1  # one more than there are, so that beside the last pixel of a row there is none
    place = rows * line + columns
    pairs = []
    for step in (1, line - 1, line, line + 1):  # to the right, and the three below
        other = np.minimum(np.searchsorted(place, place + step), len(place) - 1)
        beside = np.flatnonzero(place[other] == place + step)
        pairs.append((beside, other[beside]))
    one, other = (np.concatenate(ends) for ends in zip(*pairs))
    labels = np.arange(len(place))
    while (labels[one] != labels[other]).any():  # both ends of a pair take the smaller label, and so do their namesakes
        smaller, low = labels.copy(), np.minimum(labels[one], labels[other])
        np.minimum.at(smaller, labels[one], low)
        np.minimum.at(smaller, labels[other], low)
        while not np.array_equal(smaller, smaller[smaller]):
            smaller = smaller[smaller]
        labels = smaller[labels]
    return [(rows[labels == label], columns[labels == label]) for label in np.unique(labels)]
