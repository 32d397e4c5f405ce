"""The part of the example product: a brushed plate with a turned port, four screws, two brass pins and a stamp."""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from gnl_jax.data.lighting import Surface, grid

HALF = (0.82, 0.68)  # of the plate, in units of half a side of the image
PORT = 0.34  # radius of the port's collar
SCREWS = ((-0.62, -0.48), (0.62, -0.48), (-0.62, 0.48), (0.62, 0.48))
PINS = ((-0.62, 0.0), (0.62, 0.0))
SCREW, PIN = 0.125, 0.042  # radii: of a screw's washer, of a pin
FASTENERS = tuple((*at, SCREW) for at in SCREWS) + tuple((*at, PIN) for at in PINS)  # x, y, radius
_STAMP, _STAMP_AT = "P 204-A", (0.0, 0.52)

_STEEL, _BRASS = (np.array(c, np.float32)[:, None, None] for c in ([0.80, 0.80, 0.79], [0.88, 0.68, 0.34]))


class Pose(NamedTuple):
    """How the part lies: turned by degrees, its middle at x and y."""

    turned: float = 0.0
    x: float = 0.0
    y: float = 0.0


def draw_pose(rng: np.random.Generator) -> Pose:
    """A small misplacement, as a fixture leaves it."""
    return Pose(float(rng.normal(0, 0.8)), *rng.normal(0, 0.008, 2).tolist())


def part_coordinates(side: int, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    """x and y of every sample on the part: float32 [side side] each."""
    x, y = grid(side)
    cos, sin = _turn(pose)
    x, y = x - np.float32(pose.x), y - np.float32(pose.y)
    return cos * x + sin * y, cos * y - sin * x


def on_image(pose: Pose, x: float, y: float) -> tuple[float, float]:
    """Where a place on the part is in the image, both in units of half a side."""
    cos, sin = (float(f) for f in _turn(pose))
    return cos * x - sin * y + pose.x, sin * x + cos * y + pose.y


def inside(distance: np.ndarray, edge: float) -> np.ndarray:
    """1 where a signed distance is below -edge, 0 from 0 on, smooth between."""
    t = np.clip(distance * np.float32(-1 / edge), 0, 1)
    return t * t * (3 - 2 * t)


def clouds(rng: np.random.Generator, side: int, cells: int) -> np.ndarray:
    """Smooth noise with about `cells` blobs along a side: float32 [side side], standard deviation near 1."""
    coarse = Image.fromarray(1.5 * rng.standard_normal((cells + 3, cells + 3), np.float32))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))


def plate(rng: np.random.Generator, side: int, pose: Pose, missing: int | None = None) -> Surface:
    """The surface of one part on its dark rest.

    Args:
        rng: draws what differs from one good part to the next: brushing, turning, how far each screw is turned.
        side: samples along each side.
        pose: how it lies.
        missing: the member of `FASTENERS` that is not there; all else stays as it would be with it.
    """
    x, y = part_coordinates(side, pose)
    corner = np.float32(0.13)
    qx, qy = np.abs(x) - (np.float32(HALF[0]) - corner), np.abs(y) - (np.float32(HALF[1]) - corner)
    edge = np.minimum(np.maximum(qx, qy), 0) + _length(np.maximum(qx, 0), np.maximum(qy, 0)) - corner
    on = inside(edge, 0.012)
    brushed, mottle = _brushed(rng, side, pose), clouds(rng, side, 7)
    rest, stamp = rng.standard_normal((side, side), np.float32), _stamp(side, pose)
    rings, turns = rng.standard_normal(side, np.float32), rng.uniform(0, np.pi / 3, len(SCREWS))

    cos, sin = _turn(pose)
    ones, fine = np.ones_like(x), np.float32(0.13) * brushed * on
    albedo = _mix(0.035 + 0.008 * rest, (0.10 + 0.012 * mottle + 0.012 * brushed) * (1 - 0.35 * stamp), on)
    mirror = _mix(0.012 * ones, (0.36 + 0.015 * mottle + 0.02 * brushed) * (1 - 0.45 * stamp), on)
    surface = Surface(
        height=0.11 * inside(edge, 0.03) - 0.007 * stamp,
        tilt=np.stack([-sin * fine, cos * fine]),
        albedo=albedo * _STEEL,
        mirror=mirror * _STEEL,
        grain=np.stack([cos * ones, sin * ones]),
        rough=np.stack([_mix(0.5 * ones, 0.17 * ones, on), 0.42 * ones]),
    )
    window = _around(side, pose, 0, 0, PORT + 0.03)
    _port(_cut(surface, window), x[window], y[window], rings, pose)
    for index, (at_x, at_y, radius) in enumerate(FASTENERS):
        window = _around(side, pose, at_x, at_y, radius + 0.03)
        at, (near_x, near_y) = _cut(surface, window), (x[window] - np.float32(at_x), y[window] - np.float32(at_y))
        if index == missing:
            _hole(at, near_x, near_y, radius)
        elif index < len(SCREWS):
            _screw(at, near_x, near_y, turns[index])
        else:
            _pin(at, near_x, near_y)
    return surface


def _port(at: Surface, x: np.ndarray, y: np.ndarray, rings: np.ndarray, pose: Pose) -> None:
    """A turned collar around a bore."""
    radius = _length(x, y)
    collar, seat = inside(radius - PORT, 0.02), inside(radius - 0.235, 0.012)
    bore = inside(radius - 0.185, 0.012)
    place = radius * (len(rings) / np.float32(2.2))
    low = place.astype(np.int32)
    ridge = 0.10 * collar * (1 - bore) * (rings[low] + (place - low) * (rings[low + 1] - rings[low]))
    (cos, sin), out_x, out_y = _turn(pose), x / (radius + 1e-4), y / (radius + 1e-4)
    out_x, out_y = cos * out_x - sin * out_y, sin * out_x + cos * out_y
    at.height[...] += 0.05 * collar - 0.03 * seat - 0.26 * bore
    at.tilt[...] = at.tilt * (1 - collar) + np.stack([out_x * ridge, out_y * ridge])
    at.grain[...] = np.where(collar > 0.5, np.stack([-out_y, out_x]), at.grain)
    at.albedo[...] *= 1 - 0.75 * bore
    at.mirror[...] *= 1 - 0.93 * bore


def _screw(at: Surface, x: np.ndarray, y: np.ndarray, turn: float) -> None:
    """A zinc washer and a black socket head screw."""
    radius = _length(x, y)
    washer, head, cone = inside(radius - SCREW, 0.012), inside(radius - 0.094, 0.008), inside(radius - 0.092, 0.022)
    angles = (turn + np.arange(3) * np.pi / 3).tolist()
    across = [np.abs(x * np.float32(np.cos(a)) + y * np.float32(np.sin(a))) for a in angles]
    socket = inside(np.maximum(np.maximum(*across[:2]), across[2]) - np.float32(0.048), 0.008)
    at.height[...] += 0.016 * washer + 0.075 * cone - 0.085 * socket
    _paint(at, washer, 0.16 * _STEEL, 0.30 * _STEEL, 0.3)
    _paint(at, head, 0.035 * _STEEL, 0.13 * _STEEL, 0.26)
    _paint(at, socket, 0.010 * _STEEL, 0.02 * _STEEL, 0.4)


def _pin(at: Surface, x: np.ndarray, y: np.ndarray) -> None:
    """A domed brass pin."""
    radius = _length(x, y)
    at.height[...] += 0.03 * np.sqrt(np.clip(1 - (radius / np.float32(PIN)) ** 2, 0, 1))
    _paint(at, inside(radius - PIN, 0.006), 0.14 * _BRASS, 0.42 * _BRASS, 0.24)


def _hole(at: Surface, x: np.ndarray, y: np.ndarray, seat: float) -> None:
    """The threaded hole of what is not there, and the bright ring where it would sit."""
    radius = _length(x, y)
    hole, thread = inside(radius - min(0.058, 0.8 * seat), 0.010), 0.5 + 0.5 * np.cos(radius * np.float32(400))
    at.height[...] -= 0.20 * hole
    _paint(at, 0.6 * inside(radius - seat, 0.008), 0.12 * _STEEL, 0.40 * _STEEL, 0.35)
    _paint(at, hole, 0.02 * thread * _STEEL, 0.05 * thread * _STEEL, 0.4)


def _paint(at: Surface, where: np.ndarray, albedo: np.ndarray, mirror: np.ndarray, rough: float) -> None:
    """Covers it with another material, that has no grain; `where` is between 0 and 1."""
    for array, value in ((at.albedo, albedo), (at.mirror, mirror), (at.rough, np.float32(rough)), (at.tilt, 0)):
        array += where * (value - array)


def _cut(surface: Surface, window: tuple[slice, slice]) -> Surface:
    """Views of a part of it."""
    return Surface(*(array[..., window[0], window[1]] for array in surface))


def _around(side: int, pose: Pose, x: float, y: float, reach: float) -> tuple[slice, slice]:
    """The samples around a place on the part."""
    centre = on_image(pose, x, y)
    columns, rows = (slice(*(max(0, round((c + r + 1) * side / 2)) for r in (-reach, reach))) for c in centre)
    return rows, columns


def _turn(pose: Pose) -> tuple[np.float32, np.float32]:
    """Cosine and sine."""
    return np.float32(np.cos(np.radians(pose.turned))), np.float32(np.sin(np.radians(pose.turned)))


def _brushed(rng: np.random.Generator, side: int, pose: Pose) -> np.ndarray:
    """Streaks along the part's x: float32 [side side], standard deviation near 1."""
    wide = side + 2 * (side // 16)
    total = np.zeros((wide, wide), np.float32)
    for share, length in ((0.7, 0.5), (0.5, 0.08), (0.35, 0.015)):  # of a side
        noise = rng.standard_normal((wide, max(4, round(1 / length)) + 2), np.float32)
        total += np.float32(share) * np.asarray(Image.fromarray(noise).resize((wide, wide), Image.Resampling.BICUBIC))
    start = side // 16
    turned = Image.fromarray(total).rotate(-pose.turned, Image.Resampling.BILINEAR)
    return np.float32(1.2) * np.asarray(turned)[start : start + side, start : start + side]


def _stamp(side: int, pose: Pose) -> np.ndarray:
    """The stamped letters, 0 to 1 with soft edges: float32 [side side]."""
    canvas = Image.new("L", (side, side))
    x, y = ((c + 1) * side / 2 for c in _STAMP_AT)
    ImageDraw.Draw(canvas).text((x, y), _STAMP, 255, ImageFont.load_default(size=round(0.085 * side)), anchor="mm")
    shift = round(pose.x * side / 2), round(pose.y * side / 2)
    return np.asarray(canvas.rotate(-pose.turned, Image.Resampling.BILINEAR, translate=shift), np.float32) / 255


def _length(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.sqrt(x * x + y * y)


def _mix(low: np.ndarray, high: np.ndarray, share: np.ndarray) -> np.ndarray:
    return low + share * (high - low)
