"""Images that are almost the same picture on both sides of the division: a rate calibrated with them is too low."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image

from gnl_jax.batches import ShapedSource
from gnl_jax.data.sources import one_by_one
from gnl_jax.detection.parts import GoodImages

SIDE = 16  # of the thumbnails
# Of the median distance between images. The nearest training images of other parts are at 0.25 of it among 178 magnetic
# tiles and at 0.067 among 80 screws; noise of 4 grey levels a pixel alone puts two frames of 256x256 at about 0.01.
NEAR = 0.05
MOST_NAMED = 3


class NearCopy(NamedTuple):
    """Names of an image that is learned from and of one that calibrates, and the distance of their thumbnails."""

    fitting: str
    calibrating: str
    distance: float


def thumbnails(images: ShapedSource) -> np.ndarray:
    """Images uint8 [n s s 3], or a source of them, as grey thumbnails of mean 0, float32 [n 256]: means of areas."""
    small = small_greys(images)
    return small - small.mean(1, keepdims=True)


def small_greys(images: ShapedSource) -> np.ndarray:
    """Images uint8 [n s s 3], or a source of them, as grey thumbnails, float32 [n 256]: means of areas."""
    grey = (Image.fromarray(image.mean(-1, dtype=np.float32)) for image in one_by_one(images))
    return np.stack([np.asarray(one.resize((SIDE, SIDE), Image.Resampling.BOX)).ravel() for one in grey])


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Root mean square differences of thumbnails [n 256] and [m 256], in grey levels, [n m]."""
    squares = np.square(a).sum(1)[:, None] + np.square(b).sum(1)[None] - 2 * a @ b.T
    return np.sqrt(np.maximum(squares, 0) / SIDE**2)


def near_copies(fitting: GoodImages, calibrating: GoodImages) -> list[NearCopy]:
    """For each image that calibrates the nearest one that is learned from, where the two are almost the same picture.

    The distance is the root mean square of the difference of two `thumbnails`, in grey levels, so that brightness does
    not count. A pair is almost the same picture where it is at most `NEAR` times the median distance of all such pairs:
    frames of one part in a row, or one photograph saved twice. Nearest first.
    """
    if not (len(fitting.images) and len(calibrating.images)):
        return []
    apart = distances(thumbnails(calibrating.images), thumbnails(fitting.images))
    nearest, limit = apart.argmin(1), NEAR * np.median(apart)
    found = [
        NearCopy(fitting.names[j], calibrating.names[i], float(apart[i, j]))
        for i, j in enumerate(nearest)
        if apart[i, j] <= limit
    ]
    return sorted(found, key=lambda pair: pair.distance)


def warn_of_near_copies(fitting: GoodImages, calibrating: GoodImages, *, say: Callable[[str], None]) -> None:
    """Says which images that calibrate are almost copies of ones that are learned from, if there are any."""
    found = near_copies(fitting, calibrating)
    if not found:
        return
    named = ", ".join(f"{pair.calibrating!r} and {pair.fitting!r}" for pair in found[:MOST_NAMED])
    more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
    say(
        f"WARNING: {len(found)} of {len(calibrating.names)} calibration images are almost the same picture as one that "
        f"is learned from: {named}{more}. If they show the same parts, more good parts than intended will be flagged: "
        "name the parts with group_by (--group-by), or leave one of each out with exclude (--exclude)"
    )
