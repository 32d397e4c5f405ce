"""How image folders are laid out: which files are trained on, which are tested on, what is a defect.

In all functions `root` is a folder and `paths` is `list_images(root)`.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from absl import logging

from gnl_jax.data.listing import list_images

GOOD = "good"  # the folder of normal images in MVTec AD


class ImageFiles(NamedTuple):
    """Image files with their labels.

    Fields:
        paths: what to open: files, or `RecordFile`s.
        names: paths relative to the folder that the user gave; with the seed they decide each image's noise.
        defects: the kind of defect, or the anomalous class, of each; "" for a normal image.
        masks: for each image the path of its mask, None without a defect; None where there are no masks.
    """

    paths: tuple[str | os.PathLike, ...]
    names: tuple[str, ...]
    defects: tuple[str, ...]
    masks: tuple[str | os.PathLike | None, ...] | None = None


class Layout(NamedTuple):
    """Normal images to learn from, and the test set "id"."""

    train: ImageFiles
    test: ImageFiles


def find_layout(root: str, *, normal: str = "", bad: str = "") -> Layout:
    """Finds out which of three layouts a folder has: MVTec AD, class per folder, or flat.

    Args:
        root: the folder.
        normal: the class that is normal, for a class per folder; "" for `good`.
        bad: a folder of anomalous images, for a flat folder of normal ones.

    Raises:
        ValueError: none of the three; what was found is said.
    """
    paths = list_images(root)
    folders = _folders(paths)
    flat = not any("/" in path for path in paths)
    if any(path.startswith(f"train/{GOOD}/") for path in paths):
        layout, unused = mvtec_layout(root, paths), {"normal": normal, "bad": bad}
    elif flat:
        layout, unused = flat_layout(root, paths, bad=bad), {"normal": normal}
    elif (normal or GOOD) in folders and all("/" in path for path in paths):
        layout, unused = class_layout(root, paths, normal or GOOD), {"bad": bad}
    else:
        loose = sum("/" not in path for path in paths)
        raise ValueError(
            f"{root!r}: found {loose} images beside the folders {folders}, expected images and no folders; or "
            f"train/{GOOD} and test/; or a folder for each class, one of them {normal or GOOD!r} (`normal`)"
        )
    if given := [name for name, value in unused.items() if value]:
        raise ValueError(f"{' and '.join(given)}: no meaning for the layout of {root!r}")
    return layout


def mvtec_layout(root: str, paths: Sequence[str]) -> Layout:
    """One category of MVTec AD: `train/good/`, `test/{good,<defect>}/` and, if any, `ground_truth/<defect>/`.

    Raises:
        ValueError: no images in `train/good` or in `test`; masks that cannot be paired with the images.
    """
    train = [path for path in paths if path.startswith(f"train/{GOOD}/")]
    if not train:
        raise ValueError(f"{root!r}: no images in train/{GOOD}")
    return Layout(_normal(root, train), mvtec_test(root, paths))


def mvtec_test(root: str, paths: Sequence[str]) -> ImageFiles:
    """The test part of `mvtec_layout`; a folder of shifted images may have it alone."""
    tests = [path for path in paths if path.startswith("test/") and path.count("/") > 1]
    if not tests:
        raise ValueError(f"{root!r}: no images in test/{GOOD} and test/<defect>")
    kinds = [path.split("/")[1] for path in tests]
    masks: dict[str, str] = {}
    truths = [path for path in paths if path.startswith("ground_truth/")]
    for defect in sorted(set(kinds) - {GOOD}) if truths else ():
        images = [path for path, kind in zip(tests, kinds) if kind == defect]
        masks |= pair_masks(images, [path for path in truths if path.startswith(f"ground_truth/{defect}/")], root=root)
    return ImageFiles(
        paths=_joined(root, tests),
        names=tuple(tests),
        defects=tuple("" if kind == GOOD else kind for kind in kinds),
        masks=tuple(os.path.join(root, masks[t]) if t in masks else None for t in tests) if truths else None,
    )


def pair_masks(images: Sequence[str], masks: Sequence[str], *, root: str) -> dict[str, str]:
    """The mask of each image of one kind of defect: `x_mask.png` or `x.png` belongs to `x.png`.

    Where the names do not tell, both are taken in sorted order, as published, and that is logged.

    Raises:
        ValueError: another number of masks than of images; folder and numbers are named.
    """
    folder = os.path.dirname(images[0])
    by_stem = {PurePosixPath(mask).stem.removesuffix("_mask"): mask for mask in masks}
    if len(masks) == len(images) and {PurePosixPath(image).stem for image in images} == by_stem.keys():
        return {image: by_stem[PurePosixPath(image).stem] for image in images}
    if len(masks) != len(images):
        raise ValueError(f"{root!r}: {len(masks)} masks in ground_truth for {len(images)} images in {folder}")
    logging.warning("%s: masks of %s paired by sorted order, their names differ", root, folder)
    return dict(zip(sorted(images, key=os.fsencode), sorted(masks, key=os.fsencode)))


def class_layout(root: str, paths: Sequence[str], normal: str) -> Layout:
    """A folder for each class: every tenth normal image is test, with all images of the other classes.

    Raises:
        ValueError: no such class; those there are listed.
    """
    paths = [path for path in paths if "/" in path]
    _check_class(normal, _folders(paths), where=root)
    held_out, train = _every_tenth([path for path in paths if path.startswith(f"{normal}/")])
    others = [path for path in paths if not path.startswith(f"{normal}/")]
    return Layout(_normal(root, train), _one_vs_all(root, [*held_out, *others], normal, level=0))


def flat_layout(root: str, paths: Sequence[str], *, bad: str = "") -> Layout:
    """A folder of normal images, every tenth of them test; all images of the folder `bad` are test too."""
    held_out, train = _every_tenth(paths)
    test = _normal(root, held_out)
    if bad:
        defective = list_images(bad)
        test = ImageFiles(
            paths=test.paths + _joined(bad, defective),
            names=test.names + tuple(f"bad/{path}" for path in defective),
            defects=test.defects + ("bad",) * len(defective),
        )
    return Layout(_normal(root, train), test)


def pacs_layout(root: str, paths: Sequence[str], normal: str, *, domain: str = "photo") -> Layout:
    """One domain of PACS, `<domain>/<class>/`: every tenth image of each class is test, the rest train.

    The released protocol is unknown; this is ours, on images sorted by name within their class.

    Raises:
        ValueError: no such domain or class; those there are listed.
    """
    classes = _pacs_classes(root, paths, domain)
    _check_class(normal, classes, where=os.path.join(root, domain))
    tenths = {name: _every_tenth(paths) for name, paths in classes.items()}
    test = [path for held_out, _ in tenths.values() for path in held_out]
    return Layout(_normal(root, tenths[normal][1]), _one_vs_all(root, test, normal, level=1))


def pacs_domain(root: str, paths: Sequence[str], normal: str, domain: str, *, keep: str = "all") -> ImageFiles:
    """A shifted domain of PACS, which is never trained on: "all" its images, or every "tenth" of each class."""
    if keep not in ("all", "tenth"):
        raise ValueError(f"ood: got {keep!r}, expected 'all' or 'tenth'")
    classes = _pacs_classes(root, paths, domain)
    _check_class(normal, classes, where=os.path.join(root, domain))
    kept = [paths if keep == "all" else _every_tenth(paths)[0] for paths in classes.values()]
    return _one_vs_all(root, [path for paths in kept for path in paths], normal, level=1)


def pacs_domains(paths: Sequence[str]) -> list[str]:
    """The names of the domains, sorted."""
    return _folders(path for path in paths if path.count("/") > 1)


def shifted_files(root: str) -> ImageFiles:
    """A user's own shifted test set: `test/` as in MVTec AD, or `good/` beside a folder for each kind of defect.

    Raises:
        ValueError: neither of the two; what was found is said.
    """
    paths = list_images(root)
    folders = _folders(paths)
    if "test" in folders:
        return mvtec_test(root, paths)
    if GOOD in folders and all("/" in path for path in paths):
        return _one_vs_all(root, paths, GOOD, level=0)
    raise ValueError(f"{root!r}: found the folders {folders}, expected test/, or {GOOD}/ and one for each defect")


def _pacs_classes(root: str, paths: Sequence[str], domain: str) -> dict[str, list[str]]:
    if domain not in pacs_domains(paths):
        raise ValueError(f"{root!r}: no domain {domain!r}, found {pacs_domains(paths)}")
    mine = [path for path in paths if path.startswith(f"{domain}/") and path.count("/") > 1]
    classes = sorted({path.split("/")[1] for path in mine})
    return {name: [path for path in mine if path.split("/")[1] == name] for name in classes}


def _one_vs_all(root: str, paths: Sequence[str], normal: str, *, level: int) -> ImageFiles:
    """Labels files by their class, the name at a level of their path."""
    classes = [path.split("/")[level] for path in paths]
    defects = tuple("" if name == normal else name for name in classes)
    return ImageFiles(_joined(root, paths), tuple(paths), defects)


def _normal(root: str, paths: Sequence[str]) -> ImageFiles:
    return ImageFiles(_joined(root, paths), tuple(paths), ("",) * len(paths))


def _joined(root: str, paths: Iterable[str]) -> tuple[str, ...]:
    return tuple(os.path.join(root, path) for path in paths)


def _folders(paths: Iterable[str]) -> list[str]:
    return sorted({path.split("/")[0] for path in paths if "/" in path})


def _every_tenth(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Positions 0, 10, 20, ... of the sorted files, and all others."""
    paths = sorted(paths, key=os.fsencode)
    return paths[::10], [path for i, path in enumerate(paths) if i % 10]


def _check_class(normal: str, classes: Iterable[str], *, where: str) -> None:
    if normal not in classes:
        raise ValueError(f"normal: no class {normal!r} in {where!r}, expected one of {sorted(classes)}")
