"""Defect masks from image files."""

import os
from collections.abc import Callable, Sequence

import numpy as np
from absl import logging

from gnl_jax.data.pixels import read_image
from gnl_jax.data.progress import progress
from gnl_jax.images.resize import Geometry, resize_nearest


def read_mask(path: str | os.PathLike) -> np.ndarray:
    """True where a mask file is not black, bool [h w]; `ImageError` as `read_image`."""
    return read_image(path, white=1, alpha="drop").any(axis=2)  # white=1: the label 1 of a deep file counts


def load_masks(
    paths: Sequence[str | os.PathLike | None],
    size: int | Geometry,
    *,
    change: Callable[[np.ndarray, int], np.ndarray] = lambda mask, index: mask,
    what: str = "masks",
) -> np.ndarray:
    """Reads and resizes masks; logs how many come out without a defect.

    Args:
        paths: mask files, None for an image without a defect.
        size: side of the masks in pixels, or their geometry.
        change: (bool [h w], position in `paths`) -> bool [h w], done before the resize.
        what: is being read, for the progress bar and the log.

    Returns:
        bool [n size size].

    Raises:
        ImageError: a file that cannot be used; it is named.
    """
    side = Geometry.of(size).size
    masks = np.zeros((len(paths), side, side), np.bool_)
    for index, path in enumerate(progress(paths, total=len(paths), what=what)):
        if path is not None:
            masks[index] = resize_nearest(change(read_mask(path), index), size)
    defective = np.array([path is not None for path in paths], np.bool_)
    empty = int((defective & ~masks.any(axis=(1, 2))).sum())
    if empty:
        logging.warning("%s: %d of %d are empty at %d x %d pixels", what, empty, int(defective.sum()), side, side)
    return masks
