"""How folders of images are laid out: which files are trained on, which are tested on, what is a defect.

In all functions `root` is a folder and `paths` is `list_images(root)`.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from absl import logging

from gnl_jax.data.files import ImageFiles, Layout, every_tenth, labelled_files, normal_files, top_folders
from gnl_jax.data.listing import list_images
from gnl_jax.data.naming import GOOD, NORMAL_FOLDERS, is_mask_folder, is_normal, split_masks
from gnl_jax.data.visa import split_table, visa_layout


class Split(NamedTuple):
    """A layout with a folder to train on and one to test on.

    train/ holds a folder of normal images (good, ok or normal), or normal images alone; the test folder one of normal
    images and one for each kind of defect. Masks are in a folder ground_truth (or mask, masks, gt) beside or in the
    test folder, or beside their images.

    Attributes:
        told_by: the path that tells this layout from the others.
        test: the folder to test on.
        unused: folders that are known and not used: images to validate on, or without labels.
    """

    told_by: str
    test: str = "test"
    unused: tuple[str, ...] = ()


# The first that fits. BTAD and one's own folders with other names for good and bad are read as MVTec AD is.
SPLITS: dict[str, Split] = {
    "MVTec AD 2": Split("test_public", "test_public", ("validation", "test_private", "test_private_mixed")),
    "MVTec LOCO": Split("validation", unused=("validation",)),
    "BTAD": Split("train/ok"),
    "MVTec AD": Split("train"),
}


def find_layout(root: str, *, normal: str = "", bad: str = "") -> Layout:
    """Reads a folder in one of the layouts of `LAYOUTS`.

    Args:
        root: the folder.
        normal: the class that is normal, for a folder for each class; the product, for VisA. "": good, ok or normal.
        bad: a folder of anomalous images, for a flat folder of normal ones.

    Raises:
        ValueError: none of the layouts, or several products; what was found is said.
    """
    paths = list_images(root)
    for reader in LAYOUTS.values():
        if reader.fits(root, paths, normal):
            given = {"normal": normal, "bad": bad}
            if unused := [name for name, value in given.items() if value and name not in reader.takes]:
                raise ValueError(f"{' and '.join(unused)}: no meaning for the layout of {root!r}")
            return reader.read(root, paths, **{name: given[name] for name in reader.takes})
    raise _unknown(root, paths, normal)


def split_layout(root: str, paths: Sequence[str], split: Split) -> Layout:
    """A layout with a folder to train on and one to test on.

    Raises:
        ValueError: no images to train on or to test on; masks that cannot be paired with the images.
    """
    images, _ = split_masks(paths)
    inside = [path for path in images if path.startswith("train/")]
    kinds = top_folders(path.removeprefix("train/") for path in inside)
    normal = [path for path in inside if is_normal(path.split("/")[1])] if kinds else inside
    if not normal:
        raise ValueError(f"{root!r}: no images in train/{GOOD}, found train/{kinds}")
    test = split_test(root, paths, split)
    used = {*normal, *test.names}
    _say_unused(root, [path for path in images if path not in used], split.unused)
    return Layout(normal_files(root, normal), test)


def split_test(root: str, paths: Sequence[str], split: Split) -> ImageFiles:
    """The test part of `split_layout`; a folder of shifted images may have it alone."""
    images, masks = split_masks(paths)
    tests = [path for path in images if path.startswith(f"{split.test}/") and path.count("/") > 1]
    if not tests:
        raise ValueError(f"{root!r}: no images in {split.test}/{GOOD} and {split.test}/<defect>")
    kinds = [path.split("/")[1] for path in tests]
    used = [mask for mask in masks if (top := mask.split("/")[0]) == split.test or is_mask_folder(top)]
    return labelled_files(root, tests, ["" if is_normal(kind) else kind for kind in kinds], used, top=split.test)


def class_layout(root: str, paths: Sequence[str], *, normal: str = "") -> Layout:
    """A folder for each class, or good, bad and mask folders as anomalib's `Folder` has them.

    Every tenth normal image is test, with all images of the other classes; where there is a folder of normal images to
    test on (good_test, test_good), those, and none that could be trained on. Folders of masks are no class, unless one
    is the normal class.

    Args:
        root, paths: as everywhere here.
        normal: the normal class; "" for good, ok and normal.

    Raises:
        ValueError: no such class; those there are listed.
    """
    images, masks = (paths, []) if is_mask_folder(normal) else split_masks(paths)
    images = [path for path in images if "/" in path]
    classes = top_folders(images)
    normals = [normal] if normal else [name for name in classes if is_normal(name)]
    if not normals or normals[0] not in classes:
        raise ValueError(f"normal: no class {normal or GOOD!r} in {root!r}, expected one of {classes}")
    tests = {f"{name}_test" for name in normals} | {f"test_{name}" for name in normals}
    good = [path for path in images if path.split("/")[0] in normals]
    held_out = [path for path in images if path.split("/")[0] in tests]
    held_out, train = (held_out, good) if held_out else every_tenth(good)
    others = [path for path in images if path.split("/")[0] not in (*normals, *tests)]
    defects = ("",) * len(held_out) + tuple(path.split("/")[0] for path in others)
    return Layout(normal_files(root, train), labelled_files(root, [*held_out, *others], defects, masks))


def flat_layout(root: str, paths: Sequence[str], *, bad: str = "") -> Layout:
    """A folder of normal images, every tenth of them test; all images of the folder `bad` are test too."""
    images, masks = split_masks(paths)
    if masks:
        logging.warning("%s: %d masks of normal images are not used, such as %s", root, len(masks), masks[0])
    held_out, train = every_tenth(images)
    test = normal_files(root, held_out)
    if bad:
        names, masks = split_masks(list_images(bad))
        files = labelled_files(bad, names, ("bad",) * len(names), masks)
        test = ImageFiles(
            paths=test.paths + files.paths,
            names=test.names + tuple(f"bad/{name}" for name in files.names),
            defects=test.defects + files.defects,
            masks=None if files.masks is None else ((),) * len(held_out) + files.masks,
        )
    return Layout(normal_files(root, train), test)


def shifted_files(root: str) -> ImageFiles:
    """A user's own shifted test set: the test part of a layout, or `good/` beside a folder for each kind of defect.

    Raises:
        ValueError: neither of the two; what was found is said.
    """
    paths = list_images(root)
    folders = top_folders(paths)
    for split in SPLITS.values():
        if split.test in folders:
            return split_test(root, paths, split)
    images, masks = split_masks(paths)
    if any(map(is_normal, folders)) and all("/" in path for path in images):
        kinds = [path.split("/")[0] for path in images]
        return labelled_files(root, images, ["" if is_normal(kind) else kind for kind in kinds], masks)
    raise ValueError(f"{root!r}: found the folders {folders}, expected test/, or {GOOD}/ and one for each defect")


class Reader(NamedTuple):
    """A layout: whether a folder has it (root, paths, normal), how it is read, and which arguments have a meaning."""

    fits: Callable[[str, Sequence[str], str], bool]
    read: Callable[..., Layout]
    takes: tuple[str, ...] = ()


def _split_reader(split: Split) -> Reader:
    def fits(root: str, paths: Sequence[str], normal: str) -> bool:
        def has(folder: str) -> bool:
            return any(path.startswith(f"{folder}/") for path in paths)

        trains = has("train") and (has(split.test) or any(has(f"train/{name}") for name in NORMAL_FOLDERS))
        return trains and has(split.told_by)

    return Reader(fits, lambda root, paths: split_layout(root, paths, split))


def _fits_classes(root: str, paths: Sequence[str], normal: str) -> bool:
    images = paths if is_mask_folder(normal) else split_masks(paths)[0]
    folders = top_folders(images)
    return all("/" in path for path in images) and (normal in folders if normal else any(map(is_normal, folders)))


# Told in this order.
LAYOUTS: dict[str, Reader] = {
    "VisA": Reader(lambda root, paths, normal: split_table(root) is not None, visa_layout, ("normal",)),
    **{name: _split_reader(split) for name, split in SPLITS.items()},
    "a folder for each class": Reader(_fits_classes, class_layout, ("normal",)),
    "a folder of normal images": Reader(
        lambda root, paths, normal: not any("/" in path for path in paths), flat_layout, ("bad",)
    ),
}


def _unknown(root: str, paths: Sequence[str], normal: str) -> ValueError:
    folders = top_folders(paths)
    products = sorted({path.split("/")[0] for path in paths if path.split("/")[1:2] == ["train"]})
    if products:
        return ValueError(
            f"{root!r}: got a folder of several products ({', '.join(products[:5])}), expected that of one, such as "
            f"{os.path.join(root, products[0])!r}"
        )
    loose = sum("/" not in path for path in paths)
    named = repr(normal) if normal else "good, ok or normal"
    return ValueError(
        f"{root!r}: found {loose} images beside the folders {folders}, expected images and no folders; or "
        f"train/{GOOD} and test/; or a folder for each class, one of them {named} (`normal`)"
    )


def _say_unused(root: str, left: Sequence[str], known: Sequence[str]) -> None:
    """Logs how many images no one uses, by folder; as a warning where the layout does not know the folder."""
    counts = Counter("/".join(path.split("/")[:-1][:2]) or "." for path in left)
    for level, unused in (
        (logging.INFO, {f: n for f, n in counts.items() if f.split("/")[0] in known}),
        (logging.WARNING, {f: n for f, n in counts.items() if f.split("/")[0] not in known}),
    ):
        if unused:
            logging.log(level, "%s: not used: %s", root, ", ".join(f"{n} in {f}" for f, n in sorted(unused.items())))
