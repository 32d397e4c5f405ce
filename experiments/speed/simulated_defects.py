"""Defects drawn into good images, where the image has structure: for choices that must not see a real defect."""

import numpy as np
from scipy import ndimage

KINDS = ("dark_spot", "bright_spot", "scratch", "pasted", "blurred", "noise")
EXTENTS = (0.03, 0.12)  # of the image's side, drawn evenly on a logarithmic scale
PLACES = 12  # looked at; the one with the most contrast is taken, so that objects are hit rather than background


def draw_defect(rng: np.random.Generator, image: np.ndarray, other: np.ndarray, kind: str) -> np.ndarray:
    """The image with one defect.

    Args:
        rng: of place, extent and strength.
        image: uint8 [s s 3].
        other: another good image of the same shape, of which "pasted" takes a piece.
        kind: one of `KINDS`.

    Raises:
        ValueError: another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: got {kind!r}, expected one of {', '.join(KINDS)}")
    size, x = len(image), image.astype(np.float64)
    extent = size * np.exp(rng.uniform(*np.log(EXTENTS)))
    centre = _place(rng, x, extent)
    inside = _line(rng, size, centre, extent) if kind == "scratch" else _blob(rng, size, centre, extent)
    changed = _filling(rng, x, other.astype(np.float64), kind)
    weight = ndimage.gaussian_filter(inside.astype(np.float64), 0.7)[..., None]
    return np.clip(np.rint((1 - weight) * x + weight * changed), 0, 255).astype(np.uint8)


def _place(rng: np.random.Generator, x: np.ndarray, extent: float) -> np.ndarray:
    """The centre (row, column) of those drawn around which the image varies most."""
    reach = int(np.ceil(extent))
    places = rng.integers(reach, len(x) - reach, (PLACES, 2))
    contrast = [x[r - reach : r + reach + 1, c - reach : c + reach + 1].std() for r, c in places]
    return places[int(np.argmax(contrast))]


def _blob(rng: np.random.Generator, size: int, centre: np.ndarray, extent: float) -> np.ndarray:
    """An ellipse of this diameter with a random direction, bool [s s]."""
    angle, long = rng.uniform(0, np.pi), rng.uniform(1, 1.8)
    y, x = (np.arange(size)[:, None] - centre[0], np.arange(size)[None] - centre[1])
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (along / long) ** 2 + (across * long) ** 2 <= (extent / 2) ** 2


def _line(rng: np.random.Generator, size: int, centre: np.ndarray, extent: float) -> np.ndarray:
    """A thin straight line, three times as long as the extent, bool [s s]."""
    angle, width = rng.uniform(0, np.pi), rng.uniform(0.7, 2) * size / 256
    y, x = (np.arange(size)[:, None] - centre[0], np.arange(size)[None] - centre[1])
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return (np.abs(along) <= 1.5 * extent) & (np.abs(across) <= width)


def _filling(rng: np.random.Generator, x: np.ndarray, other: np.ndarray, kind: str) -> np.ndarray:
    """What is seen inside a defect, float64 [s s 3]."""
    if kind == "blurred":
        return ndimage.gaussian_filter(x, (len(x) / 64, len(x) / 64, 0))
    if kind == "pasted":
        turned = np.rot90(other, rng.integers(1, 4))
        return np.roll(turned, tuple(rng.integers(0, len(x), 2)), (0, 1))
    if kind == "noise":
        return x + rng.normal(0, rng.uniform(25, 60), x.shape[:2])[..., None]
    strength = rng.uniform(30, 90)
    return x + (strength if kind == "bright_spot" or (kind == "scratch" and rng.random() < 0.5) else -strength)
