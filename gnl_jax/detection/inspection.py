"""A stream of image files through a detector: one result for each, in order, whatever is wrong with some of them."""

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from gnl_jax.data.load import folder_options
from gnl_jax.data.pixels import ImageError, read_file, read_image
from gnl_jax.data.reading import usable_cores
from gnl_jax.detection.boxes import Box, defect_boxes
from gnl_jax.detection.detector import Detector, predict
from gnl_jax.detection.record import Decision
from gnl_jax.images.resize import Geometry, resize

ERROR = "ERROR"
AHEAD = 4  # images decoded ahead for each thread, beside a batch


class Inspected(NamedTuple):
    """What is said of one file.

    Fields:
        path: as it was given.
        decision: "OK", "REVIEW", "NG" or "ERROR"; "" without a threshold.
        reason: "score" or "drift" for a part that is stopped, the error's message, else "".
        score, p_value, drift, drift_p_value: numbers, None where there are none.
        boxes: (x, y, width, height) of what is anomalous, in pixels of the file.
        image, map: uint8 [s s 3] and floats [s s], as the detector saw it; None if they were not to be kept.
    """

    path: str
    decision: str
    reason: str
    score: float | None = None
    p_value: float | None = None
    drift: float | None = None
    drift_p_value: float | None = None
    boxes: tuple[Box, ...] = ()
    image: np.ndarray | None = None
    map: np.ndarray | None = None


class Decoded(NamedTuple):
    """An image as the detector sees it, uint8 [s s 3], and the (height, width) it had."""

    image: np.ndarray
    source: tuple[int, int]


def reader(detector: Detector) -> Callable[[str | os.PathLike], Decoded]:
    """Reads a file as the detector's images were read when it was fitted; ImageError names one that cannot be used."""
    dataset = detector.require_record().config.dataset.copy_and_resolve_references()
    dataset.root = "."
    options = folder_options(dataset, seed=0)

    def read(path: str | os.PathLike) -> Decoded:
        image = read_image(read_file(path), name=os.fsdecode(path), white=options.white, alpha=options.alpha)
        return Decoded(resize(image, options.size), image.shape[:2])

    return read


def inspect(
    detector: Detector, paths: Sequence[str | os.PathLike], *, keep: bool = False, workers: int | None = None
) -> Iterator[Inspected]:
    """Decides on image files, one result for each in their order; the next ones are decoded while one is scored.

    keep: the results hold image and map. workers: threads that decode; None for the usable cores. A file that cannot be
    used is "ERROR", never "OK", and does not disturb the others.
    """
    workers = workers or usable_cores()
    read = reader(detector)

    def decode(path) -> Decoded | str:
        try:
            return read(path)
        except (ImageError, OSError, MemoryError) as error:
            return str(error) or type(error).__name__

    with ThreadPoolExecutor(workers) as pool:
        decoded = _ahead(pool, decode, paths, window=detector.batch_size + AHEAD * workers)
        for batch in _batches(zip(paths, decoded), detector.batch_size):
            yield from _decide(detector, batch, keep=keep)


def _ahead(pool: ThreadPoolExecutor, function: Callable, items: Iterable, *, window: int) -> Iterator:
    """Results in order, with never more than `window` of them waiting."""
    items, waiting = iter(items), deque[Future]()
    try:
        for item in itertools.islice(items, window):
            waiting.append(pool.submit(function, item))
        while waiting:
            result = waiting.popleft().result()
            for item in itertools.islice(items, 1):
                waiting.append(pool.submit(function, item))
            yield result
    finally:
        for future in waiting:
            future.cancel()


def _batches(results: Iterable, size: int) -> Iterator[list]:
    """Lists of results with `size` images, or fewer at the end; what cannot be scored goes along without counting."""
    batch, images = [], 0
    for result in results:
        batch.append(result)
        images += isinstance(result[1], Decoded)
        if images == size:
            yield batch
            batch, images = [], 0
    if batch:
        yield batch


def _decide(detector: Detector, batch: list, *, keep: bool) -> Iterator[Inspected]:
    images = [result.image for _, result in batch if isinstance(result, Decoded)]
    scored = iter(_scored(detector, images))
    for path, result in batch:
        name = os.fsdecode(path)
        outcome = next(scored) if isinstance(result, Decoded) else result
        yield (
            Inspected(name, ERROR, outcome)
            if isinstance(outcome, str)
            else _inspected(detector, name, result, *outcome, keep=keep)
        )


def _scored(detector: Detector, images: list[np.ndarray]) -> list:
    """For each image its score, drift, map and decision, or what is wrong with it."""
    if not images:
        return []
    try:
        prediction = predict(detector, np.stack(images))
    except ValueError as error:  # a score that is no number; the others shall not suffer
        return [str(error)] if len(images) == 1 else [_scored(detector, [image])[0] for image in images]
    drift = [None] * len(images) if prediction.drift is None else prediction.drift
    return list(zip(prediction.score, drift, prediction.map, detector.decide(prediction)))


def _inspected(
    detector: Detector, name: str, decoded: Decoded, score, drift, score_map, said: Decision, *, keep: bool
) -> Inspected:
    image_options = detector.require_record().manifest["image"]
    geometry = Geometry(detector.size, image_options["resize"], image_options["filter"])
    _, threshold = detector.require_record().thresholds
    return Inspected(
        name,
        said.decision,
        said.reason,
        float(score),
        said.p_value,
        None if drift is None else float(drift),
        said.drift_p_value,
        ()
        if threshold is None
        else tuple(defect_boxes(score_map, threshold, source=decoded.source, geometry=geometry)),
        decoded.image if keep else None,
        score_map if keep else None,
    )
