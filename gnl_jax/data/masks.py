"""Defect masks from image files."""

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from absl import logging

from gnl_jax.data.decode import ImageError, UnusableFiles
from gnl_jax.data.pixels import read_file, read_image
from gnl_jax.data.progress import progress
from gnl_jax.data.reading import REMEDY
from gnl_jax.images.resize import Geometry, resize_nearest

_JPEG = b"\xff\xd8\xff"


def read_mask(path: str | os.PathLike) -> np.ndarray:
    """True where a mask file is not black, bool [h w]; `ImageError` as `read_image`.

    In a JPEG file, whose compression leaves traces around a defect, where it is nearer to white than to black.
    """
    data = read_file(path)
    values = read_image(
        data, name=os.fsdecode(path), white=1, alpha="drop"
    )  # white=1: the label 1 of a deep file counts
    return values.max(axis=2) > (127 if data.startswith(_JPEG) else 0)


def read_masks(paths: Sequence[str | os.PathLike]) -> np.ndarray:
    """The union of the masks of one image, bool [h w]; `ImageError` names a file that cannot be used."""
    mask = read_mask(paths[0])
    for path in paths[1:]:
        if (other := read_mask(path)).shape != mask.shape:
            first, second = os.fsdecode(paths[0]), os.fsdecode(path)
            raise ImageError(f"{second!r}: a mask of {other.shape} pixels beside {first!r} of {mask.shape}")
        mask = mask | other
    return mask


class LoadedMasks(NamedTuple):
    """Masks bool [n s s], and which of them are known, bool [n]."""

    masks: np.ndarray
    known: np.ndarray


def load_masks(
    paths: Sequence[Sequence[str | os.PathLike]],
    size: int | Geometry,
    *,
    defective: Sequence[bool] | np.ndarray | None = None,
    change: Callable[[np.ndarray, int], np.ndarray] = lambda mask, index: mask,
    skip_unreadable: bool = False,
    what: str = "masks",
) -> LoadedMasks:
    """Reads and resizes masks; logs how many come out without a defect.

    Args:
        paths: for each image its mask files, which are joined; () for none.
        size: side of the masks in pixels, or their geometry.
        defective: of each image; one without a mask file has a mask that is not known. None: nowhere.
        change: (bool [h w], position in `paths`) -> bool [h w], done before the resize.
        skip_unreadable: a mask that cannot be read is not known, with a warning, instead of raising.
        what: is being read, for the progress bar and the log.

    Raises:
        ImageError: files that cannot be used; all of them are named.
    """
    side = Geometry.of(size).size
    masks = np.zeros((len(paths), side, side), np.bool_)
    drawn, errors = np.zeros(len(paths), np.bool_), {}
    for index, files in enumerate(progress(paths, total=len(paths), what=what)):
        if not files:
            continue
        try:
            masks[index] = resize_nearest(change(read_masks(files), index), size)
            drawn[index] = True
        except ImageError as error:
            errors[index] = str(error)
    if errors and not skip_unreadable:
        unusable = [(os.fsdecode(paths[index][0]), reason) for index, reason in errors.items()]
        raise UnusableFiles(unusable, total=sum(map(bool, paths)), what=what, remedy=REMEDY)
    for reason in errors.values():
        logging.warning("skipped: %s", reason)
    if empty := int((drawn & ~masks.any(axis=(1, 2))).sum()):
        logging.warning("%s: %d of %d are empty at %d x %d pixels", what, empty, int(drawn.sum()), side, side)
    known = drawn | ~np.array([index in errors for index in range(len(paths))], np.bool_)
    return LoadedMasks(masks, known if defective is None else known & (drawn | ~np.asarray(defective, np.bool_)))
