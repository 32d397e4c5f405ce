"""From a surface and a lamp to a photograph: the renderer of the example product."""

import functools
from typing import NamedTuple

import numpy as np
from PIL import Image

OVERSAMPLED = 2  # a surface has this many samples for a pixel, along each side
_SHADOW_STEPS = 12


class Lamp(NamedTuple):
    """A lamp and the camera's exposure under it. One unit of length is half a side of the image.

    Attributes:
        azimuth: degrees; 0 is right of the part, 90 above it in the image.
        elevation: degrees over the surface.
        distance: from the middle of the part; a near lamp lights one side more than the other.
        kelvin: colour temperature; the camera's white balance stays at 5500.
        exposure: factor on all light.
        ambient: light from all around, as a share of the lamp's.
    """

    azimuth: float = 118.0
    elevation: float = 52.0
    distance: float = 4.0
    kelvin: float = 5500.0
    exposure: float = 1.0
    ambient: float = 0.30


class Surface(NamedTuple):
    """What the lamp shines on: float32 arrays with the same h = w.

    Attributes:
        height: [h w], towards the camera, in units of half a side.
        tilt: [2 h w], slopes along x and y of what is finer than a sample, such as brushing.
        albedo: [3 h w], share of the light that is scattered.
        mirror: [3 h w], share of the light that is reflected.
        grain: [2 h w], direction of brushing or turning, of length 1.
        rough: [2 h w], width of the highlight along and across the grain.
    """

    height: np.ndarray
    tilt: np.ndarray
    albedo: np.ndarray
    mirror: np.ndarray
    grain: np.ndarray
    rough: np.ndarray


def light(surface: Surface, lamp: Lamp) -> np.ndarray:
    """The light that a square surface sends to a camera above it.

    Scattered light, an anisotropic highlight, a soft surrounding that polished slopes reflect, cast shadows, and the
    darkness of holes.

    Returns:
        float32 [3 h w], linear; red, green, blue.

    References:
        The highlight is that of Ward, "Measuring and modeling anisotropic reflection" (1992), without its cosines.
    """
    side = len(surface.height)
    towards, half, falloff = _rays(lamp, side)
    slope_y, slope_x = np.gradient(surface.height, np.float32(2 / side))
    nx, ny = surface.tilt[0] - slope_x, surface.tilt[1] - slope_y
    nz = 1 / np.sqrt(nx * nx + ny * ny + 1)
    nx, ny = nx * nz, ny * nz
    facing = np.clip(nx * towards[0] + ny * towards[1] + nz * towards[2], 0, None)
    reach = facing * falloff * (1 - _shadow(surface.height, lamp))
    around = np.float32(lamp.ambient) * _openness(surface.height)

    straight = nx * half[0] + ny * half[1] + nz * half[2]
    (gx, gy), (wide, wider) = surface.grain, surface.rough
    along = gx * half[0] + gy * half[1] - (gx * nx + gy * ny) * straight
    across = np.clip(1 - straight * straight - along * along, 0, None)
    lobe = np.exp(-((along / wide) ** 2 + across / (wider * wider)) / (straight * straight))
    # What a slope reflects is brighter towards the upper border of the image.
    mirrored = lobe * reach / (4 * wide * wider) + around * (0.62 - 1.1 * nz * ny)
    scattered = reach + around
    return (surface.albedo * scattered + surface.mirror * mirrored) * colour(lamp.kelvin)[:, None, None]


def photograph(
    rng: np.random.Generator, linear: np.ndarray, *, exposure: float = 1.0, noise: float = 1.0
) -> np.ndarray:
    """A camera's image of the light: vignetting, shot and read noise, tone curve.

    Args:
        rng: draws the noise.
        linear: float32 [3 h w], `OVERSAMPLED` times the image.
        exposure: factor on the light.
        noise: factor on the noise; 0 for none.

    Returns:
        uint8 [h / OVERSAMPLED, w / OVERSAMPLED, 3].
    """
    parts = [linear[:, i::OVERSAMPLED, j::OVERSAMPLED] for i in range(OVERSAMPLED) for j in range(OVERSAMPLED)]
    x, y = grid(parts[0].shape[1])
    dimmed = np.float32(exposure / OVERSAMPLED**2) * (1 - np.float32(0.13) * (x * x + y * y))
    pixels = sum(parts[1:], parts[0]) * dimmed
    shot = rng.standard_normal(pixels.shape, np.float32) * np.sqrt(np.float32(0.00016) * pixels + np.float32(0.00002))
    pixels = np.clip(pixels + np.float32(noise) * shot, 0, None)
    toned = (1 - np.exp(np.float32(-1.35) * pixels)) / np.float32(1 - np.exp(-1.35 * 1.6))  # white is 1.6
    levels = 255 * np.clip(toned, 0, 1) ** np.float32(1 / 2.2)
    return np.ascontiguousarray(levels.round().astype(np.uint8).transpose(1, 2, 0))


def colour(kelvin: float) -> np.ndarray:
    """How a camera balanced for 5500 K sees a lamp of this temperature: float32 [3], red, green, blue."""
    warm = 5500 / kelvin
    return np.array([warm**0.55, 1.0, warm**-0.8], np.float32)


def grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """x to the right and y down, float32 [1 side] and [side 1], of samples between -1 and 1."""
    line = ((np.arange(side) + 0.5) * 2 / side - 1).astype(np.float32)
    return line[None, :], line[:, None]


def _position(lamp: Lamp) -> tuple[float, float, float]:
    """x, y (down) and z of the lamp."""
    azimuth, elevation = np.radians(lamp.azimuth), np.radians(lamp.elevation)
    flat = lamp.distance * np.cos(elevation)
    return flat * np.cos(azimuth), -flat * np.sin(azimuth), lamp.distance * np.sin(elevation)


@functools.lru_cache(maxsize=8)
def _rays(lamp: Lamp, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Towards the lamp [3 h w], between lamp and camera [3 h w], and its strength [h w], in the plane of height 0."""
    x, y = grid(side)
    lx, ly, lz = (np.float32(c) for c in _position(lamp))
    towards = np.stack(np.broadcast_arrays(lx - x, ly - y, lz))
    square = (towards**2).sum(0)
    towards /= np.sqrt(square)
    half = towards + np.array([0, 0, 1], np.float32)[:, None, None]
    half /= np.sqrt((half**2).sum(0))
    return towards, half, np.float32(lamp.distance**2) / square


def _shadow(height: np.ndarray, lamp: Lamp) -> np.ndarray:
    """How much of the lamp is hidden by what stands in its way, 0 to 1, with a soft edge: float32 [h w]."""
    small = np.asarray(Image.fromarray(height).reduce(2))
    side = len(small)
    x, y, z = _position(lamp)
    flat = np.hypot(x, y)
    stride = float(small.max() - small.min()) * flat / z / _SHADOW_STEPS * side / 2  # samples
    margin = int(np.ceil(stride * _SHADOW_STEPS)) + 1
    padded = np.pad(small, margin, mode="edge")
    hidden = np.full_like(small, -np.inf)
    for step in range(1, _SHADOW_STEPS + 1):
        right, down = round(step * stride * x / flat), round(step * stride * y / flat)
        rise = np.float32(np.hypot(right, down) * 2 / side * z / flat)
        there = padded[margin + down : margin + down + side, margin + right : margin + right + side]
        np.maximum(hidden, there - rise, out=hidden)
    soft = np.clip((hidden - small) / np.float32(0.012), 0, 1)
    return np.asarray(Image.fromarray(soft).resize(height.shape[::-1], Image.Resampling.BILINEAR))


def _openness(height: np.ndarray) -> np.ndarray:
    """How much of the surrounding a sample sees, less where it lies below its neighbourhood: float32 [h w]."""
    around = Image.fromarray(height).reduce(8).resize(height.shape[::-1], Image.Resampling.BILINEAR)
    return np.clip(1 - np.float32(4.5) * (np.asarray(around) - height), 0.15, 1.1)
