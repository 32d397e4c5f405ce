"""From pixels to what the teacher sees: the resize, the region and the normalisation as nodes.

Inside the graph images are [b c h w]; outside [b h w c].
"""

import numpy as np

from gnl_jax.deploy.onnx.graph import Graph
from gnl_jax.deploy.runtime import PRECISION, taps
from gnl_jax.images.resize import Geometry
from gnl_jax.images.views import IMAGENET_MEAN, IMAGENET_STD
from gnl_jax.methods.scoring import OUTSIDE
from gnl_jax.ops.pixels import LEAST_SIGMA, PixelBounds

LIMB = 8  # bits of a weight that one product takes: exact in float32, TF32 and bfloat16 alike
MOST_TAPS = 256  # source pixels of a new one: sums of 255 * 255 stay below 2^24, so float32 holds them exactly


def as_planes(g: Graph, images: str) -> str:
    """uint8 [b h w 3] -> float32 [b 3 h w], 0 to 255."""
    return g.add("Transpose", g.add("Cast", images, to="float32"), perm=[0, 3, 1, 2])


def resize(g: Graph, planes: str, geometry: Geometry, *, height: int, width: int) -> str:
    """`gnl_jax.images.resize.resize` to the last bit: whole numbers in float32 [b 3 height width] -> [b 3 s s]."""
    wide = _one_axis(g, planes, weight_matrix(width, geometry), columns=True)
    return _one_axis(g, wide, weight_matrix(height, geometry), columns=False)


def weight_matrix(length: int, geometry: Geometry) -> np.ndarray:
    """Pillow's fixed-point weights of one pass, only for pixels that the cut keeps: int32 [size length].

    Raises:
        ValueError: more source pixels in one new pixel than float32 sums exactly.
    """
    index, weight = taps(length, geometry.resized, geometry.filter)
    if index.shape[1] > MOST_TAPS:
        raise ValueError(
            f"input_size: got a side of {length} pixels for {geometry.resized} in the detector, where {index.shape[1]} "
            f"pixels make one, expected at most {MOST_TAPS}"
        )
    matrix = np.zeros((geometry.resized, length), np.int32)
    np.add.at(matrix, (np.arange(geometry.resized)[:, None], index), weight)
    start = round((geometry.resized - geometry.size) / 2)
    return matrix[start : start + geometry.size]


def _one_axis(g: Graph, x: str, weights: np.ndarray, *, columns: bool) -> str:
    """One pass, the last axis (columns) or the one before it, in float32 and nevertheless exact.

    A weight of 22 bits and a sign is three numbers of 8 bits. Each product with a pixel, and each sum of them, is a
    whole number below 2^24. Then the carries are passed on, which leaves floor((sum + 2^21) / 2^22), Pillow's rounding.
    """
    carried = ""
    for shift in (0, LIMB, 2 * LIMB):
        limb = weights >> shift
        limb = limb if shift == 2 * LIMB else limb & ((1 << LIMB) - 1)
        total = g.add("MatMul", x, limb.T) if columns else g.add("MatMul", limb, x)
        if carried:
            total = g.add("Add", total, g.add("Floor", g.add("Mul", carried, 2.0**-LIMB)))
        carried = total
    rest = PRECISION - 2 * LIMB
    rounded = g.add("Floor", g.add("Mul", g.add("Add", carried, 2.0 ** (rest - 1)), 2.0**-rest))
    return g.add("Min", g.add("Max", rounded, 0.0), 255.0)


def hold_region(g: Graph, planes: str, region: np.ndarray) -> str:
    """`methods.scoring.hold_region`: float32 [b 3 s s] with `OUTSIDE` where region bool [s s] is False."""
    return g.add("Where", g.constant(region[None, None], bool), planes, float(OUTSIDE))


def normalise(g: Graph, planes: str, kind: str) -> str:
    """`images.views.normalise`: float32 [b 3 s s] in [0, 255] -> what the weights expect."""
    unit = g.add("Div", planes, 255.0)
    if kind == "none":
        return unit
    mean, std = (np.array(moment, np.float32).reshape(1, 3, 1, 1) for moment in (IMAGENET_MEAN, IMAGENET_STD))
    return g.add("Div", g.add("Sub", unit, mean), std)


def match_moments(g: Graph, planes: str, bounds: PixelBounds) -> str:
    """`ops.pixels.match_moments` of planes [b 3 h w] in [0, 255]."""
    own = g.add("ReduceMean", planes, axes=[2, 3], keepdims=1)
    centred = g.add("Sub", planes, own)
    variance = g.add("ReduceMean", g.add("Mul", centred, centred), axes=[1, 2, 3], keepdims=1)
    deviation = g.add("Sqrt", variance)
    scaled = g.add("Div", centred, g.add("Max", deviation, LEAST_SIGMA))
    ends = [(np.asarray(end.sigma).reshape(1, 1, 1, 1), np.asarray(end.mean).reshape(1, 3, 1, 1)) for end in bounds]
    if all((least == most).all() for least, most in zip(*ends, strict=True)):
        sigma, mean = (g.constant(least) for least in ends[0])
        return g.add("Add", g.add("Mul", scaled, sigma), mean)
    sigma, mean = (
        g.add("Min", g.add("Max", x, least), most) for x, least, most in zip((deviation, own), *ends, strict=True)
    )
    moved = g.add("Add", g.add("Mul", scaled, sigma), mean)
    apart = [g.add("Abs", g.add("Sub", a, b)) for a, b in ((sigma, deviation), (mean, own))]
    most_apart = g.add("ReduceMax", g.add("Max", *apart), axes=[1], keepdims=1)
    return g.add("Where", g.add("Equal", most_apart, 0.0), planes, moved)
