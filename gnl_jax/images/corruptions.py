"""The corruptions that make shifted test sets, on the host: the published four, and `shifts.py` beside them.

Brightness, contrast, defocus blur and noise equal `imagecorruptions` 1.1.2 value for value.
"""

import os
import zlib
from functools import cache
from pathlib import PurePath

import numpy as np
from jaxtyping import UInt8

from gnl_jax.images.shifts import SHIFTS

Random = np.random.Generator | np.random.RandomState


def corrupt(
    rng: Random, image: UInt8[np.ndarray, "h w 3"] | UInt8[np.ndarray, "h w"], name: str, severity: int
) -> UInt8[np.ndarray, "h w 3"]:
    """Corrupt one image.

    An image [h w] becomes three equal channels first (noise then differs in each). The result is computed in float64
    and truncated, not rounded. `name` is one of `CORRUPTIONS` or `SHIFTS`, `severity` 1 to 5. `rng` is a
    `numpy.random.Generator` (see `corruption_rng`) or, for the published noise, its `RandomState`. Raises ValueError
    for another name, severity, shape or type.
    """
    if name not in FAMILIES:
        raise ValueError(f"name: expected one of {list(FAMILIES)}, got {name!r}")
    if severity not in SEVERITIES:
        raise ValueError(f"severity: expected one of {list(SEVERITIES)}, got {severity!r}")
    image = np.asarray(image)
    if image.ndim == 2:
        image = np.stack([image] * 3, axis=-1)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"image: expected uint8 [h w 3] or [h w], got {image.dtype} {list(image.shape)}")
    function, parameters = FAMILIES[name]
    corrupted = function(rng, image / 255.0, parameters[int(severity) - 1])
    return (np.clip(corrupted, 0, 1) * 255).astype(np.uint8)


def corruption_rng(seed: int, relative_path: str | os.PathLike) -> np.random.Generator:
    """The generator for one image file: reproducible, and independent of the order files are read in."""
    return np.random.default_rng([seed, zlib.crc32(os.fsencode(PurePath(relative_path).as_posix()))])


def parse_shift(text: str, *, severity: int) -> tuple[str, int]:
    """Name and severity of a shift: "contrast" has the given severity, "contrast:5" its own.

    Raises ValueError for a name that is not in `FAMILIES` or a severity that is not in `SEVERITIES`.
    """
    name, colon, number = text.partition(":")
    if name not in FAMILIES:
        raise ValueError(f"shift: got {text!r}, expected one of {list(FAMILIES)}, alone or as in 'contrast:5'")
    chosen = {str(s): s for s in SEVERITIES}.get(number) if colon else severity
    if chosen not in SEVERITIES:
        raise ValueError(f"shift: got {text!r}, expected a severity of {list(SEVERITIES)}")
    return name, chosen


def _brightness(rng, x, amount):
    """Raise V in HSV, there and back: the rounding on the way is part of the published result."""
    hue, saturation, value = _rgb_to_hsv(x)
    return _hsv_to_rgb(hue, saturation, np.minimum(value + amount, 1))


def _contrast(rng, x, factor):
    mean = x.mean(axis=(0, 1), keepdims=True)
    return (x - mean) * factor + mean


def _gaussian_noise(rng, x, sigma):
    return x + rng.normal(0, sigma, x.shape)


def _defocus_blur(rng, x, disk):
    from scipy import ndimage  # takes long to import: scoring does without it

    kernel = _defocus_kernel(*disk)
    channels = [ndimage.correlate(x[..., c], kernel, mode="mirror") for c in range(3)]
    return np.stack(channels, axis=-1)


@cache
def _defocus_kernel(radius, sigma):
    """A disk, smoothed against aliasing; not normalised again, so it sums to 1.01 for the radii 8 and 10."""
    reach = max(radius, 8)
    x, y = np.meshgrid(np.arange(-reach, reach + 1), np.arange(-reach, reach + 1))
    disk = (x**2 + y**2 <= radius**2).astype(np.float32)
    disk /= disk.sum()
    offsets = np.arange(-1, 2) if radius <= 8 else np.arange(-2, 3)
    gaussian = np.exp(-(offsets**2) / (2 * sigma**2))
    gaussian = (gaussian / gaussian.sum()).astype(np.float32)
    # In float32 like the published OpenCV call: on a white image its rounding decides between 254 and 255.
    for axis in (1, 0):
        disk = _smooth_float32(disk, gaussian, axis)
    return disk.astype(np.float64)


def _smooth_float32(x, taps, axis):
    """Correlate along one axis with symmetric taps, adding centre first, border mirrored without its edge."""
    reach = len(taps) // 2
    padded = np.pad(np.moveaxis(x, axis, 0), [(reach, reach), (0, 0)], mode="reflect")
    shifted = [padded[i : i + x.shape[axis]] for i in range(len(taps))]
    total = taps[reach] * shifted[reach]
    for offset in range(1, reach + 1):
        total += taps[reach + offset] * (shifted[reach - offset] + shifted[reach + offset])
    return np.moveaxis(total, 0, axis)


def _rgb_to_hsv(x):
    r, g, b = np.moveaxis(x, -1, 0)
    value = x.max(axis=-1)
    spread = value - x.min(axis=-1)
    chroma = np.where(spread > 0, spread, 1)
    # Where two channels share the maximum the later one decides.
    sector = np.select([b == value, g == value], [4 + (r - g) / chroma, 2 + (b - r) / chroma], (g - b) / chroma)
    hue = np.where(spread > 0, sector / 6 % 1, 0)
    saturation = np.where(spread > 0, spread / np.where(value > 0, value, 1), 0)
    return hue, saturation, value


def _hsv_to_rgb(hue, saturation, value):
    sector = np.floor(hue * 6)
    fraction = hue * 6 - sector
    low = value * (1 - saturation)
    falling = value * (1 - fraction * saturation)
    rising = value * (1 - (1 - fraction) * saturation)
    order = [
        (value, rising, low),
        (falling, value, low),
        (low, value, rising),
        (low, falling, value),
        (rising, low, value),
        (value, low, falling),
    ]
    sector = (sector.astype(np.uint8) % 6)[..., None]
    return np.choose(sector, [np.stack(channels, axis=-1) for channels in order])


SEVERITIES = (1, 2, 3, 4, 5)

# name -> (function(rng, x, parameter) on float64 [h w 3] in [0, 1], the parameter of severities 1 to 5)
_PUBLISHED = {
    "brightness": (_brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": (_contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    "defocus_blur": (_defocus_blur, ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))),
    "gaussian_noise": (_gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
}
FAMILIES = {**_PUBLISHED, **SHIFTS}

CORRUPTIONS = tuple(_PUBLISHED)
