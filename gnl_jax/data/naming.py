"""What names of folders and files say: good, defective, a mask."""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

GOOD = "good"  # the folder of normal images in MVTec AD
# Names of folders, compared in lower case.
NORMAL_FOLDERS = ("good", "ok", "normal", "normals")
DEFECT_FOLDERS = (
    *("bad", "defect", "defects", "defective", "abnormal", "anomaly", "anomalies", "anomalous", "ng", "nok", "ko"),
    *("not_ok", "not_good", "faulty", "broken", "reject", "rejects", "logical_anomalies", "structural_anomalies"),
)
MASK_FOLDERS = ("ground_truth", "groundtruth", "ground-truth", "ground truth", "gt", "mask", "masks", "segmentations")
IMAGE_FOLDERS = ("image", "images", "img", "imgs")  # they say nothing of what is in them

_WORD = r"(?:ground[ _-]?truth|segmentation|annotation|masks?|labels?|seg|gt|anno)"
_MARK = rf"(?:[ _.\-]+[(\[]?|(?<=\d)[(\[]?|[(\[]){_WORD}[)\]]?"
_SUFFIX = re.compile(_MARK + r"(?P<number>[ _\-]?\d{1,3})?$", re.IGNORECASE)
_PREFIX = re.compile(rf"^[(\[]?{_WORD}[)\]]?[ _.\-]+(?=.)", re.IGNORECASE)


def is_normal(folder: str) -> bool:
    """Whether a folder of this name holds normal images."""
    return folder.lower() in NORMAL_FOLDERS


def is_defective(folder: str) -> bool:
    """Whether a folder of this name holds images of defects."""
    return folder.lower() in DEFECT_FOLDERS


def is_mask_folder(folder: str) -> bool:
    """Whether a folder of this name holds masks."""
    return folder.lower() in MASK_FOLDERS


def unmarked(stem: str) -> Iterator[tuple[str, bool]]:
    """The stems of images whose mask a file of this stem may be, the likeliest first: "x_gt" is x_gt's, then x's.

    Yields (stem, whether the mask is one of several by its name, as in "x_mask_2").
    """
    numbered = False
    yield stem, numbered
    while True:
        match = _SUFFIX.search(stem)
        shorter = stem[: match.start()] if match else _PREFIX.sub("", stem)
        if shorter in ("", stem):
            return
        stem, numbered = shorter, numbered or bool(match and match["number"])
        yield stem, numbered


def split_masks(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Image files, and mask files: those in a folder of masks, or named after another file, as "x_mask.png" after x.

    Args:
        paths: relative to a root, "/" between names.
    """
    stems = {_place(path) for path in paths}
    images, masks = list[str](), list[str]()
    for path in paths:
        folder, stem = _place(path)
        names = [name for name, _ in unmarked(stem)][1:]
        marked = any((place, name) in stems for name in names for place in (folder, _above(folder)))
        (masks if marked or any(map(is_mask_folder, path.split("/")[:-1])) else images).append(path)
    return images, masks


def _place(path: str) -> tuple[str, str]:
    """(folder, stem) of a file."""
    file = PurePosixPath(path)
    return str(file.parent), file.stem


def _above(folder: str) -> str:
    """The folder around one that holds labels, as in DAGM: Train/Label/1_label.png is of Train/1.png."""
    return str(PurePosixPath(folder).parent) if PurePosixPath(folder).name.lower() in ("label", "labels") else folder
