"""Images through a detector, one or any number: one result for each, in order, whatever is wrong with some of them."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol, Unpack, overload

import numpy as np

from gnl_jax.data.pixels import ImageError
from gnl_jax.detection.boxes import Box, defect_boxes, frame_map
from gnl_jax.detection.frames import One, Options, Several, frame_name, frames_of, is_one_image, snapshot
from gnl_jax.detection.preprocess import Decoded, Read, read_or_reason, record_reader
from gnl_jax.detection.record import Decision, Record
from gnl_jax.machine import usable_cores
from gnl_jax.methods.base import Prediction
from gnl_jax.overlap import overlapped

ERROR = "ERROR"
AHEAD = 4  # images decoded ahead for each thread, beyond a batch


class Inspector(Protocol):
    """What `inspect` needs of a detector (`gnl_jax.Detector` has it)."""

    @property
    def batch_size(self) -> int:
        """Images that are scored at once."""

    def __call__(self, images: np.ndarray, /) -> Prediction[np.ndarray]:
        """Scores, maps and drift of images uint8 [n s s 3]."""

    def decide(self, prediction: Prediction[np.ndarray]) -> list[Decision]:
        """The decision on each image."""

    def require_record(self) -> Record:
        """The record; ValueError without one."""


class Inspected(NamedTuple):
    """The result for one image.

    Attributes:
        path: as it was given; "image N" (from 0) for an image that is no path.
        decision: "OK", "REVIEW", "NG" or "ERROR"; "" where nothing is decided, for want of a threshold.
        reason: "score" or "drift" for a part that is flagged, the error's message, else "".
        score, p_value, drift, drift_p_value: numbers, None where there are none.
        boxes: (x, y, width, height) of what is anomalous, in pixels of the image as it came.
        image, map: uint8 [s s 3] and floats [s s], as the detector saw it; with windows the whole image [h w 3] and the
            joined map (`Grid.map_shape`). None unless requested.
        size: (height, width) of the image as it came; None for an error.
        frame_map: float32 [height width], the map in pixels of the image as it came; None unless requested.
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
    size: tuple[int, int] | None = None
    frame_map: np.ndarray | None = None


def reader(detector: Inspector) -> Read:
    """A function (image, its name or None) -> `Decoded`: images as the detector sees them (`record_reader`)."""
    return record_reader(detector.require_record())


@overload
def inspect(detector: Inspector, images: Several, **options: Unpack[Options]) -> Iterator[Inspected]: ...


@overload
def inspect(detector: Inspector, images: One, **options: Unpack[Options]) -> Inspected: ...


@overload
def inspect(detector: Inspector, images: Any, **options: Unpack[Options]) -> Inspected | Iterator[Inspected]: ...


def inspect(
    detector: Inspector,
    images: Any,
    *,
    white: float | None = None,
    channels: str = "rgb",
    keep: bool = False,
    maps: bool = False,
    ahead: int | None = None,
    workers: int | None = None,
) -> Inspected | Iterator[Inspected]:
    """Decides on one image, or on each image of an iterable, which is consumed once, in order.

    An image is a path, the bytes of a file, a PIL image, or an array [h w], [h w 3] or [h w 4] of uint8 or uint16, of
    any size. It is read, resized and masked as when the detector was fitted. An image that cannot be used is "ERROR",
    never "OK", and does not disturb the others.

    Args:
        detector: a calibrated one.
        images: one image, an array [n h w c], or any iterable or generator of images.
        white: the value that is white in arrays of more than 8 bits; floats need it, 1.0 for [0, 1]. None: the fitted
            one, or 65535 in uint16.
        channels: order of the colours in arrays, "rgb" or "bgr" (as OpenCV has it).
        keep: the results hold `image` and `map`.
        maps: the results hold `frame_map`.
        ahead: how many images to take from the iterable before the result of the first is given. 0: each result comes
            before the next image is taken, as a live camera needs. None: enough to keep the processor busy.
        workers: threads that decode; None for the usable cores.

    Returns:
        One result for one image, else an iterator of results.

    Raises:
        ValueError: a detector without a record, or an option without a meaning.
    """
    read = record_reader(detector.require_record(), white=white, channels=channels)
    if ahead is not None and ahead < 0:
        raise ValueError(f"ahead: got {ahead}, expected 0 or more, or None")

    def decode(name: str, item: Any) -> Decoded | str:
        if isinstance(item, Exception):  # it could not be taken from the iterable
            return f"{name}: {item}"
        return read_or_reason(read, item, name)

    if is_one_image(images):
        name = frame_name(images, 0)
        return next(_decide(detector, [(name, decode(name, images))], keep=keep, maps=maps))
    return _stream(detector, frames_of(images), decode, keep=keep, maps=maps, ahead=ahead, workers=workers)


def _stream(detector, items, decode, *, keep, maps, ahead, workers) -> Iterator[Inspected]:
    workers = workers or usable_cores()
    whole = detector.require_record().grid is not None  # large images: one at a time, its windows are the batch
    batch_size = 1 if whole else detector.batch_size if ahead is None else min(detector.batch_size, ahead + 1)
    window = ahead + 1 if ahead is not None else batch_size + (1 if whole else AHEAD) * workers
    named = ((frame_name(item, i), _taken(item)) for i, item in enumerate(items))

    def decided(batch: list) -> list[Inspected | Exception]:
        failure = [batch.pop()] if isinstance(batch[-1], Exception) else []
        return [*_decide(detector, batch, keep=keep, maps=maps), *failure]

    with ThreadPoolExecutor(workers) as pool:
        decoded = _ahead(pool, decode, named, window=window)
        batches = iter(lambda: list(itertools.islice(decoded, batch_size)), [])
        one_by_one = whole or ahead is not None
        for results in map(decided, batches) if one_by_one else overlapped(list, decided, batches):
            for result in results:
                if isinstance(result, Exception):
                    raise result
                yield result


def _taken(item: Any) -> Any:
    """The image as it was when it was taken from the iterable; or what is wrong with it."""
    try:
        return snapshot(item)
    except (ImageError, MemoryError) as error:
        return error


def _ahead(pool: ThreadPoolExecutor, decode: Callable, named: Iterator, *, window: int) -> Iterator:
    """(name, decoded) in order, with never more than `window` of them taken and not yet given.

    An exception of the iterable is given last, after all that it gave before.
    """
    waiting, failure = deque[tuple[str, Future]](), None

    def take(n: int) -> Exception | None:
        try:
            for name, item in itertools.islice(named, n):
                waiting.append((name, pool.submit(decode, name, item)))
        except Exception as error:
            return error
        return None

    try:
        failure = take(window)
        while waiting:
            name, future = waiting.popleft()
            yield name, future.result()
            failure = failure or take(1)
        if failure:
            yield failure
    finally:
        for _, future in waiting:
            future.cancel()


def _decide(detector: Inspector, batch: list, *, keep: bool, maps: bool) -> Iterator[Inspected]:
    images = [result.image for _, result in batch if isinstance(result, Decoded)]
    scored = iter(_scored(detector, images))
    for name, result in batch:
        outcome = next(scored) if isinstance(result, Decoded) else result
        yield (
            Inspected(name, ERROR, outcome)
            if isinstance(outcome, str)
            else _inspected(detector.require_record(), name, result, *outcome, keep=keep, maps=maps)
        )


def _scored(detector: Inspector, images: list[np.ndarray]) -> list:
    """For each image its score, drift, map and decision, or what is wrong with it."""
    if not images:
        return []
    try:
        prediction = detector(np.stack(images))
    except ValueError as error:  # a score that is no number; the others shall not suffer
        return [str(error)] if len(images) == 1 else [_scored(detector, [image])[0] for image in images]
    nothing = [None] * len(images)
    drift = nothing if prediction.drift is None else prediction.drift
    maps = nothing if prediction.map is None else prediction.map
    return list(zip(prediction.score, drift, maps, detector.decide(prediction)))


def _inspected(
    record: Record, name: str, decoded: Decoded, score, drift, score_map, said: Decision, *, keep: bool, maps: bool
) -> Inspected:
    geometry, (_, threshold) = record.geometry, record.thresholds
    return Inspected(
        name,
        said.decision,
        said.reason,
        float(score),
        said.p_value,
        None if drift is None else float(drift),
        said.drift_p_value,
        ()
        if threshold is None or score_map is None
        else tuple(defect_boxes(score_map, threshold, source=decoded.source, geometry=geometry)),
        decoded.image if keep else None,
        score_map if keep else None,
        decoded.source,
        frame_map(score_map, source=decoded.source, geometry=geometry) if maps and score_map is not None else None,
    )
