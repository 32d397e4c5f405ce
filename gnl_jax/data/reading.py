"""Image files to arrays: decoded and resized once, in parallel, through the cache; kept in memory or read again."""

import dataclasses
import hashlib
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import PIL
from absl import logging

from gnl_jax.data.cache import ImageCache, default_folder
from gnl_jax.data.decode import UnusableFiles
from gnl_jax.data.pixels import Alpha, ImageError, check_options, read_file, read_image
from gnl_jax.data.progress import progress
from gnl_jax.images.resize import Geometry, Native, resize
from gnl_jax.machine import usable_cores

RECIPE = 1  # part of every cache key; to be raised when the meaning of a pixel changes
REMEDY = " (--skip-unreadable of gnl-jax fit, or dataset.skip_unreadable of a configuration, leaves them out)"


class Transform(NamedTuple):
    """A change of an image at its own size, before it is resized.

    Attributes:
        apply: (uint8 [h w 3], name of the image) -> uint8 [h w 3].
        identity: all that decides the result apart from pixels and name; part of the cache key.
        move: the same change of a mask, (bool [h w], name of the image) -> bool [h w]; None if no pixel moves.
    """

    apply: Callable[[np.ndarray, str], np.ndarray]
    identity: str
    move: Callable[[np.ndarray, str], np.ndarray] | None = None


class Report(NamedTuple):
    """What was done.

    Attributes:
        decoded, cached: number of images that were decoded, and that came from the cache.
        skipped: path and reason of those left out.
        peak: the largest value of all images, 0 to 255.
        seen: what `look` of `load_images` returned for each image that is kept.
    """

    decoded: int
    cached: int
    skipped: tuple[tuple[str, str], ...]
    peak: int
    seen: tuple[Any, ...] = ()


@dataclasses.dataclass(frozen=True)
class ImageReader:
    """Reads one image file: decoded (`read_image`), changed and resized (`resize`), or taken from the cache.

    The cache is keyed by the SHA-256 of the file's content, all options and Pillow's version.
    """

    geometry: Geometry | Native
    white: float | None = None
    alpha: Alpha = "error"
    max_megapixels: float = 100
    transform: Transform | None = None
    cache: ImageCache | None = None

    def __call__(self, path: str | os.PathLike, name: str) -> tuple[np.ndarray, bool]:
        """(uint8 [h w 3], whether the cache had it); `ImageError` names a file that cannot be used."""
        decoding = {"white": self.white, "alpha": self.alpha, "max_megapixels": self.max_megapixels}
        data, change = read_file(path), self.transform
        key = ""
        if self.cache:
            recipe = (RECIPE, PIL.__version__, self.geometry, decoding, change and change.identity)
            key = _key(repr(recipe), name if change else "", data)
            if (stored := self.cache.read(key, self.geometry.shape[0])) is not None:
                return stored, True
        image = read_image(
            data, name=os.fsdecode(path), white=self.white, alpha=self.alpha, max_megapixels=self.max_megapixels
        )
        image = change.apply(image, name) if change else image
        if not isinstance(self.geometry, Native):
            image = resize(image, self.geometry)
        elif wrong := self.geometry.wrong(image.shape[:2]):
            raise ImageError(f"{os.fsdecode(path)!r}: {wrong}")
        if self.cache:
            self.cache.write(key, image)
        return image, False


@dataclasses.dataclass(frozen=True)
class ImageFilesSource:
    """Image files as an `ImageSource`: `source[int array [b]] -> uint8 [b s s 3]`, read whenever they are asked for."""

    reader: ImageReader
    paths: tuple[str | os.PathLike, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, s, s, 3)."""
        return (len(self), *self.reader.geometry.shape, 3)

    @property
    def dtype(self) -> np.dtype:
        """uint8."""
        return np.dtype(np.uint8)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        images = np.empty((len(indices), *self.shape[1:]), np.uint8)
        for row, i in enumerate(indices):
            images[row], _ = self.reader(self.paths[i], self.names[i])
        return images


class Loaded(NamedTuple):
    """Images uint8 [k s s 3], or a source of them; their positions int64 [k] in the list asked for; and a report."""

    images: np.ndarray | ImageFilesSource
    kept: np.ndarray
    report: Report


def load_images(
    paths: Sequence[str | os.PathLike],
    size: int | Geometry | Native,
    *,
    names: Sequence[str] | None = None,
    white: float | None = None,
    alpha: Alpha = "error",
    max_megapixels: float = 100,
    transform: Transform | None = None,
    skip_unreadable: bool = False,
    cache_dir: str | os.PathLike | None = None,
    memory_mb: float = np.inf,
    look: Callable[[np.ndarray], Any] | None = None,
    workers: int | None = None,
    what: str = "images",
) -> Loaded:
    """Reads image files (`ImageReader`), all of them, in threads: Pillow and hashing release the interpreter lock.

    Args:
        paths: image files.
        size: side of the result in pixels, or its geometry; `Native` for images that stay as they are, without a cache.
        names: of the images, for `transform`; their paths if left out.
        white, alpha, max_megapixels: as for `read_image`.
        transform: done before the resize.
        skip_unreadable: leave out files that are no usable image, with a warning, instead of raising.
        cache_dir: folder of the cache; None for the user's own (`default_folder`), "" for no cache.
        memory_mb: images that take more MiB than this are checked, put into the cache and forgotten; the result
            then reads them again when they are asked for.
        look: is shown each image uint8 [s s 3] once, while it is there, from several threads; what it returns is in
            the report.
        workers: number of threads; None for the number of usable processor cores.
        what: is being read, for the progress bar and the log.

    Raises:
        UnusableFiles: files that are no usable image, all of them named; with `skip_unreadable` only if none is usable.
        ValueError: an invalid option.
    """
    check_options(white=white, alpha=alpha, max_megapixels=max_megapixels)
    names = [os.fsdecode(path) for path in paths] if names is None else names
    if len(names) != len(paths):
        raise ValueError(f"names: got {len(names)} for {len(paths)} paths")
    geometry = size if isinstance(size, Native) else Geometry.of(size)
    folder = default_folder() if cache_dir is None else cache_dir
    if isinstance(geometry, Native):  # the cache would be as large as the files, or larger
        folder = ""
    cache = ImageCache(folder) if folder != "" else None
    reader = ImageReader(geometry, white, alpha, max_megapixels, transform, cache)
    shape = (len(paths), *geometry.shape, 3)
    mb = math.prod(shape) / 2**20
    images = np.empty(shape, np.uint8) if mb <= memory_mb else None

    def load(index: int) -> _Outcome | ImageError:
        try:
            image, cached = reader(paths[index], names[index])
        except ImageError as error:
            return error
        if images is not None:
            images[index] = image
        return _Outcome(cached, int(image.max()), look and look(image))

    outcomes = _in_threads(load, len(paths), workers=workers, what=what)
    kept, report = _collected(paths, outcomes, what, skip_unreadable=skip_unreadable)
    if look:
        report = report._replace(seen=tuple(outcomes[i].seen for i in kept))
    if images is not None:
        return Loaded(images[kept] if report.skipped else images, kept, report)
    source = "from the cache" if cache and cache.writable else "from their files, as there is no cache"
    logging.info("%s: %.0f MiB exceed the %g MiB for images, so they are read again %s", what, mb, memory_mb, source)
    files = ImageFilesSource(reader, tuple(paths[i] for i in kept), tuple(names[i] for i in kept))
    return Loaded(files, kept, report)


class _Outcome(NamedTuple):
    cached: bool
    peak: int
    seen: Any


def _key(recipe: str, name: str, data: bytes) -> str:
    return hashlib.sha256(repr((recipe, name, hashlib.sha256(data).digest())).encode()).hexdigest()


def _in_threads(load: Callable[[int], _Outcome | ImageError], n: int, *, workers: int | None, what: str) -> list:
    """The outcomes in order; any other error stops the rest."""
    pool = ThreadPoolExecutor(workers or usable_cores())
    try:
        return list(progress(pool.map(load, range(n)), total=n, what=what))
    finally:
        pool.shutdown(cancel_futures=True)


def _collected(
    paths: Sequence[str | os.PathLike], outcomes: Sequence[_Outcome | ImageError], what: str, *, skip_unreadable: bool
) -> tuple[np.ndarray, Report]:
    skipped = tuple((os.fsdecode(paths[i]), str(o)) for i, o in enumerate(outcomes) if isinstance(o, ImageError))
    kept = np.array([i for i, o in enumerate(outcomes) if not isinstance(o, ImageError)], np.int64)
    read = [o for o in outcomes if not isinstance(o, ImageError)]
    cached = sum(o.cached for o in read)
    report = Report(len(read) - cached, cached, skipped, max((o.peak for o in read), default=0))
    if skipped and not (skip_unreadable and len(kept)):
        remedy = REMEDY if len(kept) else ""
        raise UnusableFiles(skipped, total=len(paths), what=what, remedy=remedy)
    for _, reason in skipped:
        logging.warning("skipped: %s", reason)
    logging.info("%s: %d decoded, %d from the cache, %d skipped", what, *report[:2], len(skipped))
    return kept, report
