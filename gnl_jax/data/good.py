"""Folders of good images alone, and images to be scored: nothing else slips in."""

import os
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

from absl import logging

from gnl_jax.data.listing import list_images
from gnl_jax.data.naming import is_defective, is_mask_folder, is_normal, split_masks, unmarked

_SHOWN = 3  # folders that a message names


def check_good_folder(root: str | os.PathLike, paths: Sequence[str], *, part: str = "train") -> None:
    """Refuses a folder that holds defects, masks, a part to test on, or several products.

    Told by the names of folders and files alone: a folder of defects or masks, a folder that is beside one called good,
    ok or normal, a test folder beside a training folder, a mask beside its image.

    Args:
        root: the folder that a user gave as one of good images.
        paths: `list_images(root)`, or those of them that are to be used.
        part: of a data set, "train" or "test", whose good images the message would rather name.

    Raises:
        ValueError: what the folder holds is said, and which folder to give instead.
    """
    root = os.fsdecode(root)
    own = os.path.basename(os.path.abspath(root))
    if is_defective(own) or is_mask_folder(own):
        raise ValueError(f"{root!r}: got a folder called {own!r}, expected one of good images alone")
    below = _subfolders(paths)
    products = sorted(folder for folder, inside in below.items() if "train" in inside)
    if len(products) > 1:
        names = ", ".join(products[:_SHOWN]) + (", ..." if len(products) > _SHOWN else "")
        held = f"{len(products)} products ({names})"
        raise ValueError(f"{root!r}: holds {held}, expected good images of one{_advice(root, below, part)}")
    if found := _not_good(paths, below):
        held = ", ".join(found[:_SHOWN]) + (", ..." if len(found) > _SHOWN else "")
        raise ValueError(f"{root!r}: holds {held}, expected good images alone{_advice(root, below, part)}")


def defect_images(root: str | os.PathLike) -> tuple[str, ...]:
    """`list_images(root)` without masks and without what a folder good, ok or normal right below holds.

    Raises:
        ValueError: nothing is left, or good images further below, as in a whole data set; the folder is named.
    """
    images, masks = split_masks(list_images(root))
    root = os.fsdecode(root)
    if masks:
        logging.warning("%s: %d masks are left out, such as %s", root, len(masks), masks[0])
    names = tuple(name for name in images if not ("/" in name and is_normal(name.split("/")[0])))
    if not names:
        raise ValueError(f"{root!r}: got good parts alone, expected defective ones")
    if deeper := [name for name in names if any(map(is_normal, name.split("/")[:-1]))]:
        folder = os.path.dirname(deeper[0])
        raise ValueError(f"{root!r}: holds {folder}, expected defective parts, in a folder for each kind")
    return names


def images_to_score(root: str | os.PathLike) -> tuple[str, ...]:
    """`list_images(root)` without the masks of other images there; logs how many those are.

    A mask is in a folder of masks and has the name of an image elsewhere: nothing else goes without a score, whatever
    it is called.
    """
    paths = list_images(root)
    inside = {path: any(map(is_mask_folder, path.split("/")[:-1])) for path in paths}
    stems = {PurePosixPath(path).stem for path in paths if not inside[path]}
    masks = [path for path in paths if inside[path] and stems & _image_stems(PurePosixPath(path))]
    if masks:
        logging.warning("%s: %d masks are not scored, such as %s", os.fsdecode(root), len(masks), masks[0])
    left_out = set(masks)
    return tuple(path for path in paths if path not in left_out)


def _image_stems(mask: PurePosixPath) -> set[str]:
    """What the image of a mask may be called."""
    return {mask.parent.name, *(name for name, _ in unmarked(mask.stem))}


def _subfolders(paths: Sequence[str]) -> dict[str, set[str]]:
    """Each folder that has folders ("" for the root), and the names of these."""
    below: dict[str, set[str]] = {}
    for path in paths:
        steps = path.split("/")[:-1]
        for depth, step in enumerate(steps):
            below.setdefault("/".join(steps[:depth]), set()).add(step)
    return below


def _not_good(paths: Sequence[str], below: dict[str, set[str]]) -> list[str]:
    """What else than good images there is: folders, and masks beside their images."""
    found: list[str] = []
    for folder, inside in sorted(below.items()):
        normal = [name for name in inside if is_normal(name)]
        tests = {f"{name}_test" for name in normal} | {f"test_{name}" for name in normal}
        for name in sorted(inside):
            beside_good = normal and name not in tests and not is_normal(name)
            tested = "train" in inside and name.startswith("test") and name not in tests
            if is_defective(name) or is_mask_folder(name) or beside_good or tested:
                found.append(f"{folder}/{name}" if folder else name)
    inner = [name for name in found if name.startswith("test") and any(f.startswith(f"{name}/") for f in found)]
    found = [name for name in found if name not in inner]  # test/broken says more than test
    outer = [name for name in found if not any(name.startswith(f"{other}/") for other in found)]
    masks = [mask for mask in split_masks(paths)[1] if not any(mask.startswith(f"{name}/") for name in outer)]
    return sorted(outer) + masks


def _advice(root: str, below: dict[str, set[str]], part: str) -> str:
    """Which folder to give instead, where one can be told."""
    folders = [f"{folder}/{name}" if folder else name for folder, inside in below.items() for name in inside]
    normal = [folder for folder in folders if is_normal(folder.rpartition("/")[2]) and not _in(folder, is_mask_folder)]
    good = [folder for folder in normal if not _in(folder, lambda step: step.startswith(("test", "val")))]
    trains = [folder for folder in folders if folder.rpartition("/")[2] == "train"]
    wanted = [folder for folder in normal if any(step.startswith(part) for step in folder.split("/"))]
    chosen = sorted(wanted or good or trains or normal)
    return f"; give {os.path.join(root, chosen[0])!r}" if chosen else ""


def _in(folder: str, says: Callable[[str], bool]) -> bool:
    return any(says(step) or is_defective(step) for step in folder.split("/"))
