"""Which masks belong to which image: by their names, never by their order."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from absl import logging

from gnl_jax.data.naming import IMAGE_FOLDERS, is_mask_folder, unmarked


class _Match(NamedTuple):
    """Images that a mask may belong to, whether it is one of several masks of an image, and by what it was found."""

    images: Sequence[str]
    several: bool = False
    by_number: bool = False


def pair_masks(images: Sequence[str], masks: Sequence[str], *, root: str = "", top: str = "") -> dict[str, tuple]:
    """The masks of each image that has one.

    A mask belongs to the image of the same stem in the folder of the same name, after what marks it as a mask is taken
    off ("x_mask", "x-mask", "x (mask)", "x_gt", "x_label", "x_seg", "x_ground_truth", "mask_x"). Where no stem is the
    same, to the image with the same numbers in its name: "1_gt.png" to "img_001.png". Several masks of one image are
    in a folder of its name ("x/000.png", MVTec LOCO) or numbered after the mark ("x_mask_2.png"). Images without a mask
    are left out.

    Args:
        images: defective images, relative to a root.
        masks: mask files, relative to the same root.
        root: of both, for messages.
        top: the folder of the images below the root, such as "test".

    Raises:
        ValueError: a mask that belongs to no image or to several, two masks of one image; the files are named.
    """
    finder = _Finder(images, top)
    found: dict[str, list[tuple[str, _Match]]] = {}
    for mask in masks:
        match = finder.find(mask)
        if len(match.images) > 1:
            raise ValueError(f"{root!r}: the mask {mask!r} may belong to {_some(match.images)}, expected one image")
        found.setdefault(match.images[0] if match.images else "", []).append((mask, match))
    alone = [image for image in images if image not in found]
    if lost := found.pop("", []):
        beside = "; all defective images have one" if images else "; there are no defective images"
        beside = f"; {len(alone)} defective images have no mask, such as {alone[0]!r}" if alone else beside
        raise ValueError(
            f"{root!r}: no image for {_some([mask for mask, _ in lost])}{beside}. Expected masks that are named as "
            "their images, such as 'x_mask.png' for 'x.png'"
        )
    for image, mine in found.items():
        if len(mine) > 1 and not all(match.several for _, match in mine):
            raise ValueError(f"{root!r}: {_some([mask for mask, _ in mine])} belong to {image!r}, expected one mask")
    numbered = [(image, mine[0][0]) for image, mine in found.items() if mine[0][1].by_number]
    if numbered:
        image, mask = numbered[0]
        logging.warning("%s: %d masks paired by the number in their names: %s, %s", root, len(numbered), image, mask)
    return {image: tuple(mask for mask, _ in mine) for image, mine in found.items()}


class _Finder:
    """Images by the path that `key_of` leaves, by its ends, and within their kind of defect by stem and numbers."""

    def __init__(self, images: Sequence[str], top: str):
        self.top = top
        keys = {image: key_of(image, top) for image in images}
        self.by_end = _grouped((end, image) for image, key in keys.items() for end in _ends(key))
        self.by_path = _grouped((str(key), image) for image, key in keys.items())
        self.by_stem = _grouped(((kind, key.name), image) for image, key in keys.items() for kind in _kinds(key))
        self.by_number = _grouped(
            ((kind, _numbers(key.name)), image) for image, key in keys.items() for kind in _kinds(key)
        )

    def find(self, mask: str) -> _Match:
        """Where a mask lies in folders, these have to be the image's too: a stem alone would find another kind's."""
        key = key_of(mask, self.top)
        names = list(unmarked(key.name))
        paths = [(str(key.with_name(name)), numbered) for name, numbered in names]
        for places in (self.by_path, self.by_end):
            for path, numbered in paths:
                if match := places.get(path):
                    return _Match(match, several=numbered)
            if match := places.get(str(key.parent)):
                return _Match(match, several=True)
        if len(key.parts) > 2:
            return _Match(())
        kind = key.parts[0] if len(key.parts) == 2 else ""
        for name, numbered in names:
            if match := self.by_stem.get((kind, name)):
                return _Match(match, several=numbered)
        number = _numbers(names[-1][0])
        return _Match(self.by_number.get((kind, number), ()) if number else (), by_number=True)


def key_of(path: str, top: str) -> PurePosixPath:
    """A path without its suffix and without folders that only say "image" or "mask": kind of defect, ..., stem."""
    *folders, name = PurePosixPath(path.removeprefix(f"{top}/")).parts
    kept = [f for f in folders if not is_mask_folder(f) and f.lower() not in (*IMAGE_FOLDERS, "label", "labels")]
    return PurePosixPath(*kept, PurePosixPath(name).stem)


def _kinds(key: PurePosixPath) -> set[str]:
    """Where an image is found: "" for all kinds of defect, and its own kind."""
    return {"", key.parts[0] if len(key.parts) > 1 else ""}


def _ends(key: PurePosixPath) -> list[str]:
    return [str(PurePosixPath(*key.parts[i:])) for i in range(len(key.parts))]


def _numbers(stem: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"[0-9]+", stem))


def _grouped(entries: Iterable[tuple[object, str]]) -> Mapping[object, list[str]]:
    groups: dict[object, list[str]] = {}
    for entry, image in entries:
        groups.setdefault(entry, []).append(image)
    return groups


def _some(paths: Sequence[str]) -> str:
    shown = " and ".join(map(repr, paths[:2]))
    return shown + (f" and {len(paths) - 2} more" if len(paths) > 2 else "")
