"""Images on which an export is compared with its detector: of several sizes, disturbed, hard, near each threshold."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from gnl_jax.detection.detector import Detector, predict
from gnl_jax.images.resize import Geometry, resize

TOLERANCE = 1e-5  # relative: nearer to a threshold than this, rounding may decide
NEAR = 1e-3  # relative distance from a threshold at which decisions are compared
_SHARES = (1 / 8, 1 / 4, 1 / 2, 1)  # sides of the disturbed patch in those of the image
_CELLS = 16  # squares along a side of the image; noise of single pixels would be lost when the image shrinks
_GOOD = 3  # good images to try per threshold
_BLENDS, _WINDOWED_BLENDS = 16, 4  # of two images, scored in one step of a search
_FINEST = 1e-7  # of the blending weight: below it no pixel changes any more


class ExportError(ValueError):
    """An export that could not be made, or that differs from its detector; nothing was written."""


class Threshold(NamedTuple):
    """Above `value` of "score" or "drift" (kind) a part gets this decision."""

    decision: str
    kind: str
    value: float


def thresholds(detector: Detector) -> list[Threshold]:
    """All that a detector has."""
    record = detector.require_record()
    rules = zip(("NG", "REVIEW", "REVIEW"), ("score", "score", "drift"), (*record.rules, record.drift_rule))
    return [
        Threshold(name, kind, rule.threshold(getattr(record.calibration, kind))) for name, kind, rule in rules if rule
    ]


def check_whole(detector: Detector, how: str) -> None:
    """Raises ValueError for a detector with windows, naming how it was to be exported."""
    if detector.grid is not None:
        raise ValueError(
            f"detector: it inspects images in {detector.grid.describe()}; {how} expected one of whole images. "
            "--format onnx without --int8 takes it"
        )


def geometry(detector: Detector) -> Geometry:
    """How the detector's images become squares."""
    return Geometry(*(detector.require_record().manifest["image"][name] for name in ("size", "resize", "filter")))


def squares(detector: Detector, images: Sequence[np.ndarray]) -> np.ndarray:
    """What the detector is called on for images uint8 [h w 3]: resized by Pillow, uint8 [n s s 3].

    With windows they stay whole, uint8 [n h w 3]. Raises ValueError for one of another size than the detector's.
    """
    if detector.grid is None:
        return np.stack([resize(image, geometry(detector)) for image in images])
    for image in images:
        if wrong := detector.grid.native.wrong(np.shape(image)[:2]):
            raise ValueError(f"images: {wrong}")
    return np.stack(images)


def near(
    detector: Detector,
    images: Sequence[np.ndarray],
    threshold: Threshold,
    *,
    least: float = TOLERANCE,
    most: float = NEAR,
) -> list[np.ndarray]:
    """Images just below and above a threshold, between good ones and the same with a disturbed patch.

    Args:
        detector: whose scores or drift these are.
        images: good images uint8 [h w 3].
        threshold: which one.
        least, most: how far from the threshold they are, relative to it.

    Raises:
        ExportError: no image can be made that is so near.
    """
    name, kind, value = threshold

    def values(images: Sequence[np.ndarray]) -> np.ndarray:
        return getattr(predict(detector, squares(detector, images), maps=False), kind)

    most_blends = _BLENDS if detector.grid is None else _WINDOWED_BLENDS
    good, found, reached = values(images), list[np.ndarray](), False
    for i in [i for i in np.argsort(good, kind="stable")[:_GOOD] if good[i] <= value]:
        candidates = disturbed(images[i])
        for candidate in [c for c, v in zip(candidates, values(candidates)) if v > value]:
            points = min(detector.batch_size, most_blends)
            blends = _bisect(images[i], candidate, values, value, points=points, least=least, most=most)
            found, reached = max(found, blends, key=len), True
            if len(found) == 2:
                break
        if found:
            return found
    said = "no image is below it" if good.min() > value else "no disturbed image is above it"
    said = f"no blend of images is within {most:g} of it" if reached else said
    raise ExportError(f"{name}, {kind} {value:.6g}: {said}, expected good images to check decisions with")


def disturbed(image: np.ndarray, *, seed: int = 0) -> list[np.ndarray]:
    """The image with a patch in the middle of coloured squares or inverted, ever larger: list of uint8 [h w 3]."""
    (h, w, _), results = image.shape, []
    squares = np.random.default_rng(seed).integers(0, 256, (_CELLS, _CELLS, 3), np.uint8)
    squares = squares[np.arange(h) * _CELLS // h][:, np.arange(w) * _CELLS // w]
    for share in _SHARES:
        cut = tuple(slice(round(n * (1 - share) / 2), round(n * (1 + share) / 2)) for n in (h, w))
        for other in (squares, 255 - image):
            results.append(image.copy())
            results[-1][cut] = other[cut]
    return results


def pasted(images: np.ndarray, *, count: int, seed: int = 0) -> np.ndarray:
    """Simulated defects: a patch of another image pasted in, half transparent.

    Args:
        images: uint8 [n s s 3], at least two.
        count: defects for each image.
        seed: of what is cut and where it goes. A side of the patch is an eighth to a quarter of the image's.

    Returns:
        uint8 [n * count s s 3].

    References:
        Li et al., CutPaste, CVPR 2021.
    """
    rng, (n, side) = np.random.default_rng(seed), images.shape[:2]
    results = np.repeat(images, count, axis=0)
    for i, image in enumerate(results):
        other = images[(i // count + rng.integers(1, n)) % n] if n > 1 else image.copy()
        h, w = rng.integers(side // 8, side // 4 + 1, 2)
        (y, x), (v, u) = ((rng.integers(0, side - h + 1), rng.integers(0, side - w + 1)) for _ in range(2))
        patch = other[v : v + h, u : u + w].astype(np.uint16)
        image[y : y + h, x : x + w] = (image[y : y + h, x : x + w] + patch[::-1, ::-1] + 1) // 2
    return results


def _bisect(
    good: np.ndarray, bad: np.ndarray, values: Callable, threshold: float, *, points: int, least: float, most: float
) -> list[np.ndarray]:
    """Blends between `least` and `most` of the threshold, at most one on each side; good is below it and bad above."""
    low, high, found = 0.0, 1.0, dict[bool, np.ndarray]()
    while high - low > _FINEST and len(found) < 2:
        weights = np.linspace(low, high, points + 2)
        blends = [np.rint(good + w * (bad.astype(np.float64) - good)).astype(np.uint8) for w in weights[1:-1]]
        scores = values(blends)
        for blend, score in zip(blends, scores):
            if least * abs(threshold) < abs(score - threshold) <= most * abs(threshold):
                found.setdefault(score > threshold, blend)
        first = 1 + int(np.argmax([*(scores > threshold), True]))  # the first weight that is above
        low, high = weights[first - 1], weights[first]
    return list(found.values())


def three_sizes(images: list[np.ndarray]) -> list[np.ndarray]:
    """The images; where fewer than three sizes are among them, of every three one is cut on the right, one below."""
    if len({image.shape for image in images}) >= 3:
        return images
    result = [images[i % len(images)] for i in range(max(len(images), 3))]
    for i, image in enumerate(result):
        h, w = image.shape[:2]
        result[i] = (image, image[:, : w - w // 4], image[: h - h // 4])[i % 3]
    return result


def of_two_colours(images: np.ndarray) -> np.ndarray:
    """Whether nine tenths of the pixels or more have one of two colours: uint8 [n h w 3] -> bool [n].

    The rest may be the edge between the two, which a resize mixes.
    """
    result = []
    for image in images:
        red, green, blue = np.moveaxis(image.astype(np.int32), -1, 0)
        counts = np.unique_counts(red << 16 | green << 8 | blue).counts
        result.append(10 * np.sort(counts)[-2:].sum() >= 9 * red.size)
    return np.array(result)


def hard(image: np.ndarray, *, seed: int = 0) -> dict[str, np.ndarray]:
    """Images with many equal values or none, by what they are, each of the shape of a good one: uint8 [h w 3].

    Equal values have no order of their own, so these are where two runtimes differ most under matching.
    """
    rng, (h, w, _) = np.random.default_rng(seed), image.shape
    rows, columns = np.indices((h, w))
    blanked = image.copy()
    blanked[h // 2 :] = 128
    halves = np.where(columns < w // 2, 40, 200)
    cells = 255 * ((rows * 16 // h + columns * 16 // w) % 2)
    noisy = np.clip(image + rng.normal(0, 20, image.shape), 0, 255).astype(np.uint8)
    constant = {f"constant {level}": np.full_like(image, level) for level in (0, 128, 255)}
    return constant | {
        "two values, halves": np.repeat(halves[..., None], 3, axis=2).astype(np.uint8),
        "two values, squares": np.repeat(cells[..., None], 3, axis=2).astype(np.uint8),
        "noise": rng.integers(0, 256, image.shape, np.uint8),
        "a good image with noise": noisy,
        "a good image in four levels": image // 64 * 64,
        "a good image, half of it blanked": blanked,
    }
