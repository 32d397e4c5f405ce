"""Score map and image score as nodes (`ops.scoremap`): products with constant matrices."""

import numpy as np

from gnl_jax.deploy.onnx.graph import Graph
from gnl_jax.ops.scoremap import gaussian_matrix, upsample_matrix


def cosine_distance(g: Graph, a: str, b: str) -> str:
    """`ops.cosine.cosine_distance_map`: [b c h w] twice -> [b h w]."""

    def dot(x: str, y: str) -> str:
        return g.add("ReduceSum", g.add("Mul", x, y), g.ints(1), keepdims=0)

    cosine = dot(a, b)
    for x in (a, b):
        cosine = g.add("Div", cosine, g.add("Sqrt", g.add("Max", dot(x, x), 1e-16)))
    return g.add("Sub", 1.0, cosine)


def score_map(g: Graph, teacher: tuple[str, ...], student: tuple[str, ...], *, size: int) -> str:
    """Smoothed anomaly map [b s s]: the sum of each stage's cosine distances, upsampled and smoothed."""
    total = ""
    for k, (a, b) in enumerate(zip(teacher, student, strict=True), 2):
        level = smooth(g, cosine_distance(g, a, b), gaussian_matrix(size) @ upsample_matrix(size, size // 2**k))
        total = g.add("Add", total, level) if total else level
    return total


def smooth(g: Graph, x: str, matrix: np.ndarray) -> str:
    """P M P^T for each M of [b h h]: P upsamples and smooths, [s h]."""
    return g.add("MatMul", g.add("MatMul", matrix, x), matrix.T)


def hold_map(g: Graph, score_map: str, region: np.ndarray) -> str:
    """The map [b s s] with zero where region bool [s s] is False."""
    return g.add("Mul", score_map, region[None].astype(np.float32))


def image_score(g: Graph, score_map: str) -> str:
    """The largest value of each map: [b s s] -> [b]."""
    return g.add("ReduceMax", score_map, axes=[1, 2], keepdims=0)
