"""How unusual each good image is, those that were learned from included: scored as if their part were new."""

from collections.abc import Callable

import jax
import numpy as np

from gnl_jax.batches import ImageSource
from gnl_jax.detection.detector import Detector, first_rows, predict
from gnl_jax.detection.parts import GoodImages
from gnl_jax.detection.windowed import predict_windows
from gnl_jax.methods.base import Prediction, joined
from gnl_jax.methods.build import build_method, matmul_precision


def predict_as_new(
    detector: Detector, good: GoodImages, *, maps: bool = True, advance: Callable[[int], None] = lambda n: None
) -> Prediction[np.ndarray]:
    """Scores and maps of good images, leaving out of the detector what it learned from an image's own part.

    A memory bank is at distance zero from its own patches, so that without this a defective image among the good ones
    would be the least unusual of all. A method that cannot leave a part out scores images as they are.

    Args:
        detector: a calibrated one.
        good: images as it sees them; those it learned from are known by their hashes.
        maps: whether maps are wanted; 256 KiB an image at 256x256.
        advance: is called with the number of images after each batch.

    Returns:
        score [n], map [n s s] or None, drift [n] or None.

    Raises:
        ValueError: an image that was learned from, where all of them show the same part: without it there is nothing.
    """
    record = detector.require_record()
    method = detector.method or build_method(
        record.config, matching=record.matching, frozen=detector.variables.get("teacher")
    )
    score_without = method.score_without
    if score_without is None:
        return predict(detector, good.images, maps=maps, advance=advance)
    place = {digest: i for i, digest in enumerate(record.manifest["data"]["fit"])}
    grid = detector.grid
    parts = np.asarray(detector.variables["parts"])[:: grid.count if grid else 1]
    own = np.array([parts[place[digest]] if digest in place else -1 for digest in good.hashes], np.int32)
    if (own >= 0).any() and len(np.unique(parts)) < 2:
        raise ValueError("images: the detector learned from one part alone, expected two or more to leave one out")

    @jax.jit
    def program(variables, images, without):
        with jax.default_matmul_precision(matmul_precision(record.config)):
            return score_without(variables, images, without)

    def scored(images: ImageSource, without: np.ndarray, advance: Callable[[int], None]) -> Prediction[np.ndarray]:
        found = []
        for start in range(0, len(without), detector.batch_size):
            rows = np.resize(np.arange(start, min(start + detector.batch_size, len(without))), detector.batch_size)
            count = min(detector.batch_size, len(without) - start)
            result = program(detector.variables, images[rows], without[rows])
            result = result if maps else result._replace(map=None)
            found.append(first_rows(result, count))
            advance(count)
        return joined(found)

    if grid is None:
        return scored(good.images, own, advance)

    def score(windows: np.ndarray, image: int) -> Prediction[np.ndarray]:
        return scored(windows, np.repeat(own[image], len(windows)), lambda n: None)

    return predict_windows(score, good.images, grid, maps=maps, advance=advance)
