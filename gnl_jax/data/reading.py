"""Many image files to one array: decoded and resized once, in parallel, through the cache."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import PIL
from absl import logging

from gnl_jax.data.cache import ImageCache, default_folder
from gnl_jax.data.pixels import Alpha, ImageError, check_options, read_file, read_image
from gnl_jax.data.progress import progress
from gnl_jax.images.resize import resize

RECIPE = 1  # part of every cache key; to be raised when the meaning of a pixel changes


class Transform(NamedTuple):
    """A change of an image at its own size, before it is resized.

    Fields:
        apply: (uint8 [h w 3], name of the image) -> uint8 [h w 3].
        identity: all that decides the result apart from pixels and name; part of the cache key.
    """

    apply: Callable[[np.ndarray, str], np.ndarray]
    identity: str


class Report(NamedTuple):
    """How many images were decoded and how many came from the cache; path and reason of those skipped."""

    decoded: int
    cached: int
    skipped: tuple[tuple[str, str], ...]


class Loaded(NamedTuple):
    """Images uint8 [k s s 3], their positions int64 [k] in the list asked for, and a report."""

    images: np.ndarray
    kept: np.ndarray
    report: Report


def load_images(
    paths: Sequence[str],
    size: int,
    *,
    names: Sequence[str] | None = None,
    white: float | None = None,
    alpha: Alpha = "error",
    max_megapixels: float = 100,
    transform: Transform | None = None,
    skip_unreadable: bool = False,
    cache_dir: str | os.PathLike | None = None,
    workers: int | None = None,
    what: str = "images",
) -> Loaded:
    """Reads image files (`read_image`) and resizes them (`resize`).

    The cache is keyed by the SHA-256 of a file's content, all options and Pillow's version. Threads do the work:
    Pillow and hashing release the interpreter lock.

    Args:
        paths: image files.
        size: side of the result in pixels.
        names: of the images, for `transform`; their paths if left out.
        white, alpha, max_megapixels: as for `read_image`.
        transform: done before the resize.
        skip_unreadable: leave out files that are no usable image, with a warning, instead of raising.
        cache_dir: folder of the cache; None for the user's own (`default_folder`), "" for no cache.
        workers: number of threads; None for the number of usable processor cores.
        what: is being read, for the progress bar and the log.

    Raises:
        ImageError: an unusable file, which is named; with `skip_unreadable` only if no file is usable.
        ValueError: an invalid option.
    """
    check_options(white=white, alpha=alpha, max_megapixels=max_megapixels)
    if size < 1 or (names is not None and len(names) != len(paths)):
        raise ValueError(f"got size {size} and {len(names or paths)} names for {len(paths)} paths")
    decoding = {"white": white, "alpha": alpha, "max_megapixels": max_megapixels}
    recipe = repr((RECIPE, PIL.__version__, size, decoding, transform and transform.identity))
    folder = default_folder() if cache_dir is None else cache_dir
    cache = ImageCache(folder) if folder != "" else None
    images = np.empty((len(paths), size, size, 3), np.uint8)

    def load(index: int) -> str | ImageError:
        path, name = paths[index], (paths if names is None else names)[index]
        try:
            data = read_file(path)
            key = _key(recipe, name if transform else "", data)
            if cache and (stored := cache.read(key, size)) is not None:
                images[index] = stored
                return "cached"
            image = read_image(data, name=path, **decoding)
        except ImageError as error:
            return error
        images[index] = resize(transform.apply(image, name) if transform else image, size)
        if cache:
            cache.write(key, images[index])
        return "decoded"

    outcomes = _in_threads(load, len(paths), workers=workers, what=what, stop_at_error=not skip_unreadable)
    return _collected(images, paths, outcomes, what)


def _key(recipe: str, name: str, data: bytes) -> str:
    return hashlib.sha256(repr((recipe, name, hashlib.sha256(data).digest())).encode()).hexdigest()


def _in_threads(
    load: Callable[[int], str | ImageError], n: int, *, workers: int | None, what: str, stop_at_error: bool
) -> list[str | ImageError]:
    outcomes = []
    pool = ThreadPoolExecutor(workers or _usable_cores())
    try:
        for outcome in progress(pool.map(load, range(n)), total=n, what=what):
            if stop_at_error and isinstance(outcome, ImageError):
                raise outcome
            outcomes.append(outcome)
    finally:
        pool.shutdown(cancel_futures=True)
    return outcomes


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _collected(images: np.ndarray, paths: Sequence[str], outcomes: Sequence[str | ImageError], what: str) -> Loaded:
    skipped = tuple((paths[i], str(o)) for i, o in enumerate(outcomes) if isinstance(o, ImageError))
    kept = np.array([i for i, o in enumerate(outcomes) if not isinstance(o, ImageError)], np.int64)
    counts = Counter(o for o in outcomes if not isinstance(o, ImageError))
    report = Report(counts["decoded"], counts["cached"], skipped)
    if skipped and not len(kept):
        raise ImageError(f"none of the {len(paths)} {what} can be used; the first: {skipped[0][1]}")
    for _, reason in skipped:
        logging.warning("skipped: %s", reason)
    logging.info("%s: %d decoded, %d from the cache, %d skipped", what, *report[:2], len(skipped))
    return Loaded(images[kept] if skipped else images, kept, report)
