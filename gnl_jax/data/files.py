"""Image files with their labels, before anything is read."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from absl import logging

from gnl_jax.data.pairing import key_of, pair_masks

FilePath = str | os.PathLike


class ImageFiles(NamedTuple):
    """Image files with their labels.

    Attributes:
        paths: what to open: files, or `RecordFile`s.
        names: paths relative to the folder that the user gave; with the seed they decide each image's noise.
        defects: the kind of defect, or the anomalous class, of each; "" for a normal image.
        masks: for each image its mask files, which are joined; () for a normal image, and for a defective one whose
            mask is not known. None where there are no masks.
    """

    paths: tuple[FilePath, ...]
    names: tuple[str, ...]
    defects: tuple[str, ...]
    masks: tuple[tuple[FilePath, ...], ...] | None = None


class Layout(NamedTuple):
    """Normal images to learn from, and the test set "id"."""

    train: ImageFiles
    test: ImageFiles


def normal_files(root: str, names: Sequence[str]) -> ImageFiles:
    """Images without a defect."""
    return ImageFiles(joined(root, names), tuple(names), ("",) * len(names))


def labelled_files(
    root: str, names: Sequence[str], defects: Sequence[str], masks: Sequence[str] = (), *, top: str = ""
) -> ImageFiles:
    """Images with their kinds of defect and, where there are mask files, their masks (`pair_masks`).

    Logs how many defective images have no mask, and how many masks are of normal images, which are not used.

    Raises:
        ValueError: masks that cannot be paired with the images.
    """
    bad = [name for name, defect in zip(names, defects) if defect]
    normal = {_kind(name, top) for name, defect in zip(names, defects) if not defect} - {""}
    mine = [mask for mask in masks if _kind(mask, top) not in normal]
    if len(mine) < len(masks):
        logging.warning("%s: %d masks of normal images are not used", root, len(masks) - len(mine))
    paired = pair_masks(bad, mine, root=root, top=top) if mine else {}
    if paired and len(paired) < len(bad):
        without = next(name for name in bad if name not in paired)
        logging.warning(
            "%s: %d of %d defective images have no mask, such as %s; pixel metrics are over the other images",
            *(root, len(bad) - len(paired), len(bad), without),
        )
    return files_of(root, names, defects, paired or None)


def files_of(
    root: str, names: Sequence[str], defects: Sequence[str], masks: Mapping[str, Sequence[str]] | None
) -> ImageFiles:
    """Images below a root; `masks`: of the images that have any."""
    files = None if masks is None else tuple(joined(root, masks.get(name, ())) for name in names)
    return ImageFiles(joined(root, names), tuple(names), tuple(defects), files)


def joined(root: str, names: Iterable[str]) -> tuple[str, ...]:
    """The paths of names below a root."""
    return tuple(os.path.join(root, name) for name in names)


def top_folders(names: Iterable[str]) -> list[str]:
    """The folders right below the root, sorted."""
    return sorted({name.split("/")[0] for name in names if "/" in name})


def every_tenth(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Positions 0, 10, 20, ... of the sorted files, and all others."""
    names = sorted(names, key=os.fsencode)
    return names[::10], [name for i, name in enumerate(names) if i % 10]


def _kind(path: str, top: str) -> str:
    """The first folder that says what an image, or the image of a mask, shows; "" where there is none."""
    parts = key_of(path, top).parts
    return parts[0] if len(parts) > 1 else ""
