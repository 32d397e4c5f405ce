"""Scoring by a bank of patch features as nodes: distance of each patch to the nearest one in the bank."""

from collections.abc import Sequence

import numpy as np

from gnl_jax.deploy.onnx.graph import Graph
from gnl_jax.deploy.onnx.scoremap import image_score, smooth
from gnl_jax.ops.patches import half_pixel_matrix

BANK_ROWS = 4096  # of the bank in one product: bounds the memory, whatever the bank's size


def memory_bank_head(
    g: Graph,
    stages: Sequence[str],
    *,
    sides: Sequence[int],
    bank: np.ndarray,
    half_norms: np.ndarray,
    matrix: np.ndarray,
) -> tuple[str, str]:
    """Score and map of the teacher's stages by their distance to a bank.

    Each stage is averaged over 3x3 with zeros around it, the coarser ones are brought to the first one's grid
    (bilinear, half-pixel centres), and all are joined (`ops.patches.patch_embedding`). A patch's distance is that to
    its nearest row of the bank.

    Args:
        stages: names of features [b c_k h_k h_k], the finest first.
        sides: h_k of each.
        bank: float32 [m c], c the sum of c_k.
        half_norms: half of the bank's squared norms, float32 [m] (`ops.nearest.half_squared_norms`).
        matrix: what makes a map of the distances, P D P^T: float [s h_1].

    Returns:
        The names of score [b] and map [b s s].

    Raises:
        ValueError: arrays that do not fit each other.
    """
    if bank.ndim != 2 or half_norms.shape != bank.shape[:1] or matrix.shape[-1] != sides[0]:
        shapes = f"bank {list(bank.shape)}, half norms {list(half_norms.shape)}, matrix {list(matrix.shape)}"
        raise ValueError(f"bank: got {shapes}, expected [m c], [m] and [s {sides[0]}]")
    side, channels = sides[0], bank.shape[1]
    joined = [_on_grid(g, average(g, x), own, side) for x, own in zip(stages, sides, strict=True)]
    features = joined[0] if len(joined) == 1 else g.add("Concat", *joined, axis=1)
    rows = g.add("Transpose", g.add("Reshape", features, g.ints(0, channels, side * side)), perm=[0, 2, 1])
    distance = g.add("Reshape", nearest(g, rows, bank, half_norms), g.ints(0, side, side))
    score_map = smooth(g, distance, matrix)
    return image_score(g, score_map), score_map


def average(g: Graph, x: str) -> str:
    """The mean over 3x3 pixels, zeros around the border counted: [b c h w] -> the same shape."""
    return g.add("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1], count_include_pad=1)


def nearest(g: Graph, rows: str, bank: np.ndarray, half_norms: np.ndarray) -> str:
    """`ops.nearest.nearest`: Euclidean distance of each row [b n c] to the nearest row of the bank [m c], [b n].

    The nearest row r of a row q maximises q r - |r|^2 / 2, a product with the bank. The distance is then |q - r|, so
    that nothing cancels. Of equally near rows the first is taken.
    """
    whole, best, index = g.constant(bank), None, None
    for start in range(0, len(bank), BANK_ROWS):
        stop = min(start + BANK_ROWS, len(bank))
        part = g.add("Transpose", g.add("Slice", whole, g.ints(start), g.ints(stop), g.ints(0)), perm=[1, 0])
        likeness = g.add("Sub", g.add("MatMul", rows, part), half_norms[start:stop])
        most = g.add("ReduceMax", likeness, axes=[2], keepdims=0)
        where = g.add("Add", g.add("ArgMax", likeness, axis=2, keepdims=0), g.constant(start, np.int64))
        if best is None:
            best, index = most, where
        else:
            index = g.add("Where", g.add("Greater", most, best), where, index)
            best = g.add("Max", best, most)
    off = g.add("Sub", rows, g.add("Gather", whole, index, axis=0))
    return g.add("Sqrt", g.add("ReduceSum", g.add("Mul", off, off), g.ints(2), keepdims=0))


def _on_grid(g: Graph, x: str, own: int, side: int) -> str:
    return x if own == side else smooth(g, x, half_pixel_matrix(side, own))
