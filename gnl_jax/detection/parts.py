"""Good images: read, told apart by what they show, and divided into those that train and those that calibrate."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from gnl_jax.batches import ShapedSource
from gnl_jax.data.good import check_good_folder
from gnl_jax.data.listing import list_images
from gnl_jax.data.load import folder_options
from gnl_jax.data.pixels import check_array, pixel_hash, range_warning
from gnl_jax.data.reading import load_images
from gnl_jax.data.sources import Arrays, one_by_one, subset
from gnl_jax.detection.grouping import file_parts, part_names
from gnl_jax.detection.threshold import NG_DEFAULTS, REVIEW_DEFAULTS, RateError, parts_needed
from gnl_jax.images.resize import Geometry, Native, resize

ImagesLike = str | os.PathLike | np.ndarray | Sequence[np.ndarray]

LEAST_CALIBRATION, LEAST_FIT = 9, 9  # parts; fewer calibration parts support no rate of 10 %
MOST_CALIBRATION = 399  # by default: beyond it the bound on the rate hardly tightens and training loses images
CALIBRATION_SHARE = 0.3
KEPT_MB = 256  # MiB of a folder's images that are held; more are read from the cache whenever they are needed


class GoodImages(NamedTuple):
    """Images of good parts.

    Attributes:
        images: uint8 [n s s 3], or [n h w 3] for a detector with windows; of more than `KEPT_MB`, a source that reads
            them when they are asked for.
        names: relative paths, or "image 0" and so on for an array.
        parts: the part that each image shows; equal for images of one part.
        hashes: of the pixels of each image (`pixel_hash`).
    """

    images: ShapedSource
    names: tuple[str, ...]
    parts: tuple[str, ...]
    hashes: tuple[str, ...]

    def take(self, indices: Sequence[int] | np.ndarray) -> "GoodImages":
        """The images at these positions."""
        pick = [tuple(field[i] for i in indices) for field in (self.names, self.parts, self.hashes)]
        return GoodImages(subset(self.images, indices), *pick)


def good_images(source: ImagesLike, dataset: ConfigDict, **options: Any) -> GoodImages:
    """As `read_good`, with every picture once: copies of one are left out, with a warning."""
    return without_copies(read_good(source, dataset, **options))


def read_good(
    source: ImagesLike,
    dataset: ConfigDict,
    *,
    group_by: str = "",
    exclude: Sequence[str] = (),
    native: Native | None = None,
) -> GoodImages:
    """Reads all images below a folder, or takes images that are arrays already.

    Args:
        source: a folder; an array uint8 [n h w 3]; or a list of arrays uint8 [h w 3] (RGB), of any sizes. Arrays become
            squares as files do, by `resize`; an array [n s s 3] with s = dataset.size is taken as it is.
        dataset: that group of a configuration: size, and how files are read.
        group_by: which images show the same part (`part_names`); "": each shows one of its own.
        exclude: names, or paths, of images to leave out.
        native: of a detector with windows (`Grid.native`): images keep this size instead of becoming squares.

    Raises:
        ValueError: a folder or array that cannot be used, a name that the expression does not match, an excluded
            image that is not there, an image of another size than `native`; it is named.
    """
    if isinstance(source, str | os.PathLike):
        root = os.fspath(source)
        names = list_images(root)
        names = tuple(names[i] for i in _without(names, exclude, root=root))
        check_good_folder(root, names)
        return _files(root, names, dataset, group_by, native)
    check_arrays(source)
    names = tuple(f"image {i}" for i in range(len(source)))
    chosen = _without(names, exclude, root="")
    names = tuple(names[i] for i in chosen)
    images = _squares(source, chosen, dataset) if native is None else _native(source, chosen, native)
    return GoodImages(images, names, part_names(names, group_by), tuple(map(pixel_hash, one_by_one(images))))


def read_files(
    paths: Sequence[str], dataset: ConfigDict, *, below: Mapping[str, str], group_by: str, native: Native | None
) -> GoodImages:
    """`read_good` for image files in this order, named by their paths; `below`: the names to group by."""
    good = _files("", tuple(paths), dataset, "", native)
    return good._replace(parts=file_parts(good.names, group_by, below=below))


def _files(root: str, names: tuple[str, ...], dataset: ConfigDict, group_by: str, native: Native | None) -> GoodImages:
    options, what = folder_options(_with_root(dataset, root or "."), seed=0), os.fsdecode(root) or "images"
    loaded = load_images(
        [os.path.join(root, name) for name in names],
        native or options.size,
        white=options.white,
        alpha=options.alpha,
        skip_unreadable=options.skip_unreadable,
        cache_dir=options.cache_dir,
        memory_mb=KEPT_MB,
        look=pixel_hash,
        what=what,
    )
    names = tuple(names[i] for i in loaded.kept)
    if warning := range_warning(loaded.report.peak, name=what):
        logging.warning("%s", warning)
    return GoodImages(loaded.images, names, part_names(names, group_by, root=root), loaded.report.seen)


def check_arrays(images: np.ndarray | Sequence[np.ndarray]) -> None:
    """ValueError unless images are an array uint8 [n h w 3] or a list of arrays uint8 [h w 3]."""
    expected = "a folder, an array uint8 [n h w 3] or a list of arrays uint8 [h w 3] (RGB)"
    if isinstance(images, np.ndarray):
        if images.ndim != 4:
            raise ValueError(f"images: got {images.dtype} {list(images.shape)}, expected {expected}")
        check_array(images)
    elif not isinstance(images, Sequence):
        raise ValueError(f"images: got {type(images).__name__}, expected {expected}")
    else:
        for i, image in enumerate(images):
            if getattr(image, "ndim", 3) != 3:
                raise ValueError(f"image {i}: got {image.dtype} {list(image.shape)}, expected uint8 [h w 3] (RGB)")
            check_array(image, name=f"image {i}")


def _squares(images: np.ndarray | Sequence[np.ndarray], chosen: Sequence[int], dataset: ConfigDict) -> np.ndarray:
    """The chosen images as the networks see them, uint8 [n s s 3]."""
    side = dataset.size
    if isinstance(images, np.ndarray) and images.shape[1:] == (side, side, 3):
        return images[np.array(chosen, np.int64)]
    geometry = Geometry(side, dataset.resize, dataset.filter)
    squares = np.empty((len(chosen), side, side, 3), np.uint8)
    for square, i in zip(squares, chosen):
        square[:] = resize(images[i], geometry)
    return squares


def _native(images: np.ndarray | Sequence[np.ndarray], chosen: Sequence[int], native: Native) -> ShapedSource:
    """The chosen images as they are. Raises ValueError for one of another size."""
    for i in chosen:
        if wrong := native.wrong(images[i].shape[:2]):
            raise ValueError(f"image {i}: {wrong}")
    return Arrays([images[i] for i in chosen])


def without_copies(good: GoodImages) -> GoodImages:
    """Every picture once: a copy both in training and in calibration would make the guaranteed rate wrong."""
    first: dict[str, int] = {}
    for i, digest in enumerate(good.hashes):
        first.setdefault(digest, i)
    if len(first) < len(good.names):
        copies = [good.names[i] for i, digest in enumerate(good.hashes) if first[digest] != i]
        logging.warning("%d images are copies of others and left out, such as %r", len(copies), copies[0])
        good = good.take(sorted(first.values()))
    return good


def _with_root(dataset: ConfigDict, root: str) -> ConfigDict:
    dataset = dataset.copy_and_resolve_references()
    dataset.root = root
    return dataset


def _without(names: Sequence[str], exclude: Sequence[str], *, root: str) -> list[int]:
    """Positions of the names that are not excluded."""
    known = set(names)
    left_out = {path if path in known or not root else os.path.relpath(path, root) for path in map(os.fspath, exclude)}
    if unknown := left_out - known:
        raise ValueError(f"exclude: {sorted(unknown)[0]!r} is not among the {len(names)} images")
    return [i for i, name in enumerate(names) if name not in left_out]


def calibration_parts(n: int, *, wanted: int | None = None, needed: int = 0, confidence: float | None = None) -> int:
    """How many of n parts calibrate: `wanted`, or as many as serve both sides.

    By default 30 %, but as many as 1 %, 5 % or 10 % take (99, 19 or 9, more with a confidence) if half of the parts are
    enough for that, and at least the `needed` ones of a requested rate. RateError if too few are left on either side.

    >>> calibration_parts(40), calibration_parts(200)
    (19, 99)
    """
    if wanted is not None and wanted < LEAST_CALIBRATION:
        raise RateError(f"calibration: got {wanted}, expected at least {LEAST_CALIBRATION} images (one for each part)")
    if wanted is None:
        steps = [parts_needed(rate, confidence=confidence) for rate in (NG_DEFAULTS[0], *REVIEW_DEFAULTS)]
        fitting = [step for step in steps if step <= n / 2]
        most = max(MOST_CALIBRATION, steps[0])
        wanted = max(min(int(CALIBRATION_SHARE * n), most), needed, *(fitting[:1] or steps[-1:]))
    if n - wanted < LEAST_FIT:
        raise RateError(
            f"got good images of {n} parts, expected at least {wanted + LEAST_FIT}: {wanted} to calibrate the "
            f"false-alarm rate and {LEAST_FIT} to learn from"
        )
    return wanted


def split_parts(parts: Sequence[str], n_calibration: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the images that train and of those that calibrate, each ascending; no part is on both sides.

    The parts that calibrate are drawn from the seed, so that they are like the others.
    """
    distinct = sorted(set(parts))
    chosen = np.random.default_rng([seed, 2]).permutation(len(distinct))[:n_calibration]
    calibrating = {distinct[i] for i in chosen}
    is_calibration = np.array([part in calibrating for part in parts], bool)
    return np.flatnonzero(~is_calibration), np.flatnonzero(is_calibration)


def largest_by_part(values: np.ndarray, parts: Sequence[str]) -> np.ndarray:
    """The largest value [n] of each part, ascending: what a part's p-value is compared with.

    A part is flagged if any of its images is, so its score is the largest one.
    """
    largest: dict[str, float] = {}
    for value, part in zip(values, parts, strict=True):
        largest[part] = max(value, largest.get(part, value))
    return np.sort(np.array(list(largest.values()), np.float32))


def check_unseen(hashes: Sequence[str], names: Sequence[str], data: Mapping[str, Any]) -> None:
    """Raises ValueError, naming files, where images served to make a detector.

    Args:
        hashes: `pixel_hash` of each image.
        names: of the images.
        data: what the detector's record says of its images: for each use the hashes.
    """
    for name, used in (("fit", "fitting"), ("calibration", "calibration"), ("drift_reference", "the drift reference")):
        check_distinct(hashes, names, data.get(name, ()), what=f"used for {used}")


def check_distinct(hashes: Sequence[str], names: Sequence[str], known: Sequence[str], *, what: str) -> None:
    """Raises ValueError, naming files, where images are among those with the known hashes, `what` they were for."""
    same = set(known).intersection(hashes)
    if same:
        named = [name for name, digest in zip(names, hashes) if digest in same]
        raise ValueError(
            f"{len(named)} of {len(names)} images were {what}, such as {named[0]!r}; expected other images: on "
            "these the detector looks better than it is"
        )
