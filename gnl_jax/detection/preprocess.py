"""From an image of any kind to the square that the detector's networks see, exactly as when it was fitted."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from gnl_jax.data.load import parse_alpha
from gnl_jax.data.pixels import ImageError
from gnl_jax.detection.frames import Reading, frame_name, read_frame
from gnl_jax.detection.record import Record
from gnl_jax.detection.region import check_frame_size
from gnl_jax.detection.windows import read_grid
from gnl_jax.images.resize import Geometry, resize
from gnl_jax.machine import usable_cores


class Decoded(NamedTuple):
    """An image as the detector takes it, uint8 [s s 3], or [h w 3] with windows, and the (height, width) it had."""

    image: np.ndarray
    source: tuple[int, int]


Read = Callable[..., Decoded]


def make_reader(
    how: Mapping[str, Any],
    *,
    region: Mapping[str, Any] | None = None,
    white: float | None = None,
    channels: str = "rgb",
) -> Read:
    """A function (image, its name or None) -> `Decoded`; it raises ImageError for what cannot be used.

    Args:
        how: size, resize, filter, white, alpha, as a manifest's `image` or a configuration's `dataset` has them; with
            `windows`, images keep their size, which must be that of the windows' frame.
        region: as a manifest's `data` has it: images of another size than it was drawn on are errors.
        white: the value that is white in arrays of more than 8 bits (`Reading.array_white`).
        channels: order of the colours in arrays.
    """
    geometry = Geometry(how["size"], how["resize"], how["filter"])
    windows = how.get("windows")
    native = windows and read_grid(windows).native
    reading = Reading(how["white"] or None, parse_alpha(how["alpha"]), white, channels).check()

    def read(item: Any, name: str | None = None) -> Decoded:
        name = frame_name(item, 0) if name is None else name
        image = read_frame(item, name=name, reading=reading)
        check_frame_size(region, image.shape[:2], name=name)
        if native:
            if wrong := native.wrong(image.shape[:2]):
                raise ImageError(f"{name}: {wrong}")
            return Decoded(image, image.shape[:2])
        return Decoded(resize(image, geometry), image.shape[:2])

    return read


def record_reader(record: Record, *, white: float | None = None, channels: str = "rgb") -> Read:
    """`make_reader` of a detector's record."""
    region = record.manifest.get("data", {}).get("region")
    return make_reader(record.manifest["image"], region=region, white=white, channels=channels)


def read_or_reason(read: Read, item: Any, name: str) -> Decoded | str:
    """What `read` returns, or why the image cannot be used."""
    try:
        return read(item, name)
    except (ImageError, OSError, MemoryError) as error:
        return str(error) or type(error).__name__


def unusable(read: Read, paths: Sequence[str | os.PathLike]) -> list[tuple[str, str]]:
    """(path, reason) of each file that cannot be used; all are read, in threads."""
    names = [os.fsdecode(path) for path in paths]
    with ThreadPoolExecutor(usable_cores()) as pool:
        outcomes = pool.map(lambda path, name: _reason(read, path, name), paths, names)
        return [(name, reason) for name, reason in zip(names, outcomes) if reason]


def _reason(read: Read, path: str | os.PathLike, name: str) -> str:
    outcome = read_or_reason(read, path, name)  # the image itself is not kept: there may be many
    return outcome if isinstance(outcome, str) else ""
