"""Defects drawn into good images, where the image has structure: for choices that must not see a real defect."""

import numpy as np
from jaxtyping import UInt8

KINDS = ("dark_spot", "bright_spot", "scratch", "pasted", "blurred", "noise")
EXTENTS = (0.03, 0.12)  # of the image's shorter side, drawn evenly on a logarithmic scale
PLACES = 12  # looked at; the one with the most contrast is taken, so that objects are hit rather than background


def draw_defect(
    rng: np.random.Generator, image: UInt8[np.ndarray, "h w 3"], other: UInt8[np.ndarray, "v u 3"], kind: str
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw one defect into a copy of the image.

    Args:
        rng: of place, extent and strength.
        image: uint8 [h w 3].
        other: another good image, of which "pasted" takes a piece.
        kind: one of `KINDS`.

    Raises:
        ValueError: another kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: got {kind!r}, expected one of {', '.join(KINDS)}")
    from scipy import ndimage  # takes long to import: scoring does without it

    side, x = min(image.shape[:2]), image.astype(np.float64)
    extent = side * np.exp(rng.uniform(*np.log(EXTENTS)))
    centre = _place(rng, x, extent)
    shape = _line if kind == "scratch" else _blob
    inside = shape(rng, image.shape[:2], centre, extent)
    changed = _filling(rng, x, other.astype(np.float64), kind)
    weight = ndimage.gaussian_filter(inside.astype(np.float64), 0.7)[..., None]
    return np.clip(np.rint((1 - weight) * x + weight * changed), 0, 255).astype(np.uint8)


def _place(rng: np.random.Generator, x: np.ndarray, extent: float) -> np.ndarray:
    """The centre (row, column) of those drawn around which the image varies most."""
    sides = np.array(x.shape[:2])
    side = int(sides.min())
    reach = min(int(np.ceil(extent)), (side - 1) // 2)
    # Drawn in the square of the shorter side, then stretched along the longer one.
    drawn = rng.integers(reach, side - reach, (PLACES, 2)) - reach
    places = reach + drawn * (sides - 2 * reach) // (side - 2 * reach)
    contrast = [x[r - reach : r + reach + 1, c - reach : c + reach + 1].std() for r, c in places]
    return places[int(np.argmax(contrast))]


def _turned(shape: tuple[int, ...], centre: np.ndarray, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of all pixels along a direction through the centre, and across it, each float64 [h w]."""
    y, x = (np.arange(shape[0])[:, None] - centre[0], np.arange(shape[1])[None] - centre[1])
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _blob(rng: np.random.Generator, shape: tuple[int, ...], centre: np.ndarray, extent: float) -> np.ndarray:
    """An ellipse of this diameter with a random direction, bool [h w]."""
    angle, long = rng.uniform(0, np.pi), rng.uniform(1, 1.8)
    along, across = _turned(shape, centre, angle)
    return (along / long) ** 2 + (across * long) ** 2 <= (extent / 2) ** 2


def _line(rng: np.random.Generator, shape: tuple[int, ...], centre: np.ndarray, extent: float) -> np.ndarray:
    """A thin straight line, three times as long as the extent, bool [h w]."""
    angle, width = rng.uniform(0, np.pi), rng.uniform(0.7, 2) * min(shape) / 256
    along, across = _turned(shape, centre, angle)
    return (np.abs(along) <= 1.5 * extent) & (np.abs(across) <= width)


def _filling(rng: np.random.Generator, x: np.ndarray, other: np.ndarray, kind: str) -> np.ndarray:
    """What is seen inside a defect, float64 [h w 3]."""
    from scipy import ndimage

    side = min(x.shape[:2])
    if kind == "blurred":
        return ndimage.gaussian_filter(x, (side / 64, side / 64, 0))
    if kind == "pasted":
        turned = np.rot90(other, int(rng.integers(1, 4)))
        rows, columns = (np.arange(n) % m for n, m in zip(x.shape, turned.shape[:2]))  # repeated where it is too small
        return np.roll(turned[rows][:, columns], tuple(rng.integers(0, side, 2)), (0, 1))
    if kind == "noise":
        return x + rng.normal(0, rng.uniform(25, 60), x.shape[:2])[..., None]
    strength = rng.uniform(30, 90)
    return x + (strength if kind == "bright_spot" or (kind == "scratch" and rng.random() < 0.5) else -strength)
