"""Defects of the example product's plate, from hardly to be seen to obvious."""

import itertools
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from gnl_jax.data.lighting import Surface
from gnl_jax.data.plate import FASTENERS, HALF, Pose, clouds, inside, on_image, part_coordinates

Defect = tuple[Surface, np.ndarray]

_BORE = 0.22  # of the port: nothing is scratched where there is a hole
_RUST, _OIL = (np.array(c, np.float32)[:, None, None] for c in ([0.16, 0.065, 0.025], [0.035, 0.030, 0.022]))


def scratch(rng: np.random.Generator, surface: Surface, pose: Pose, strength: float) -> Defect:
    """A groove that crosses the brushing, thinner towards its ends.

    Args:
        rng: draws where it is and how it runs.
        surface: of a good part; it is not changed.
        pose: of the part.
        strength: 0, hardly to be seen, to 1, obvious.

    Returns:
        The damaged surface, and bool [h w], where it is damaged.
    """
    side = len(surface.height)
    length = 0.22 + 0.6 * strength * rng.uniform(0.6, 1)
    x, y = _place(rng, margin=0.10)
    angle = rng.uniform(0.12, 0.88) * np.pi
    bend, t = rng.normal(0, 0.12) * length, np.linspace(-0.5, 0.5, 33)
    across = bend * (1 - 4 * t * t)
    xs = np.clip(x + length * t * np.cos(angle) - across * np.sin(angle), -HALF[0] + 0.04, HALF[0] - 0.04)
    ys = np.clip(y + length * t * np.sin(angle) + across * np.cos(angle), -HALF[1] + 0.04, HALF[1] - 0.04)
    points = [tuple((c + 1) * side / 2 for c in on_image(pose, *at)) for at in zip(xs.tolist(), ys.tolist())]
    canvas = Image.new("L", (side, side))
    draw = ImageDraw.Draw(canvas)
    for i, (start, end) in enumerate(itertools.pairwise(points)):
        width = side * (0.003 + 0.006 * strength) * np.sqrt(np.sin(np.pi * (i + 0.5) / (len(points) - 1)))
        draw.line([start, end], fill=255, width=max(1, round(width)))
    groove = np.asarray(canvas.filter(ImageFilter.GaussianBlur(side / 700)), np.float32) / 255
    deep = np.float32(0.0015 + 0.006 * strength) * groove
    bare = np.float32(0.25 + 0.75 * strength) * groove
    rough = surface.rough + bare * (np.float32(0.33) - surface.rough)
    mask = np.asarray(canvas.filter(ImageFilter.MaxFilter(5))) > 0
    return surface._replace(height=surface.height - deep, tilt=surface.tilt * (1 - bare), rough=rough), mask


def dent(rng: np.random.Generator, surface: Surface, pose: Pose, strength: float) -> Defect:
    """A hollow with a low rim; arguments and result as of `scratch`."""
    radius = rng.uniform(0.06, 0.11)
    x, y = _place(rng, margin=radius)
    distance = _distance(len(surface.height), pose, x, y, stretch=rng.uniform(0.8, 1.25)) / np.float32(radius)
    hollow = np.exp(-3 * distance**2) - 0.25 * np.exp(-9 * (distance - 0.85) ** 2)
    depth = np.float32(radius * (0.025 + 0.33 * strength**1.5))
    return surface._replace(height=surface.height - depth * hollow), distance < 1.1


def stain(rng: np.random.Generator, surface: Surface, pose: Pose, strength: float) -> Defect:
    """A spot of oil or of rust with a ragged outline; arguments and result as of `scratch`."""
    side, radius = len(surface.height), rng.uniform(0.07, 0.15)
    x, y = _place(rng, margin=radius)
    ragged = np.float32(0.18) * clouds(rng, side, 14) + np.float32(0.10) * clouds(rng, side, 40)
    distance = _distance(side, pose, x, y, stretch=rng.uniform(0.6, 1.6)) / np.float32(radius) + ragged
    wet = inside(distance - 1, 0.25)
    cover = np.float32(0.15 + 0.7 * strength) * wet
    colour = _RUST if rng.random() < 0.5 else _OIL
    albedo = surface.albedo + cover * (colour - surface.albedo)
    return surface._replace(albedo=albedo, mirror=surface.mirror * (1 - 0.75 * cover)), wet > 0.1


SURFACE_DEFECTS: dict[str, Callable[[np.random.Generator, Surface, Pose, float], Defect]] = {
    "scratch": scratch,
    "dent": dent,
    "stain": stain,
}


def gap(side: int, pose: Pose, missing: int) -> np.ndarray:
    """Where a screw or a pin is not, its shadow included: bool [side side]."""
    x, y, radius = FASTENERS[missing]
    return _distance(side, pose, x, y) < radius + 0.035


def _place(rng: np.random.Generator, *, margin: float) -> tuple[float, float]:
    """A place on the plate, at least so far from its edge, the bore and what is screwed to it."""
    while True:
        x, y = (float(rng.uniform(-h + margin + 0.03, h - margin - 0.03)) for h in HALF)
        free = all(np.hypot(x - fx, y - fy) > radius + margin for fx, fy, radius in FASTENERS)
        if free and np.hypot(x, y) > _BORE + margin:
            return x, y


def _distance(side: int, pose: Pose, x: float, y: float, *, stretch: float = 1.0) -> np.ndarray:
    """From a place on the part, wider along x than along y by `stretch`: float32 [side side]."""
    on_x, on_y = part_coordinates(side, pose)
    on_x, on_y = (on_x - np.float32(x)) / np.float32(stretch**0.5), (on_y - np.float32(y)) * np.float32(stretch**0.5)
    return np.sqrt(on_x * on_x + on_y * on_y)
