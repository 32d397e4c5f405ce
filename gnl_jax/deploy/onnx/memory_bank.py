"""Scoring by a bank of patch features as nodes: distance of each patch to the nearest one in the bank."""

from collections.abc import Sequence

import numpy as np

from gnl_jax.deploy.onnx.graph import Graph
from gnl_jax.deploy.onnx.scoremap import image_score, smooth

BANK_ROWS = 4096  # of the bank in one product: bounds the memory, whatever the bank's size


def memory_bank_head(
    g: Graph,
    stages: Sequence[str],
    *,
    sides: Sequence[int],
    bank: np.ndarray,
    norms: np.ndarray,
    matrix: np.ndarray,
) -> tuple[str, str]:
    """Score and map of the teacher's stages by their distance to a bank.

    Each stage is averaged over 3x3 with zeros around it, the coarser ones are brought to the first one's grid
    (bilinear, half-pixel centres), and all are joined. A patch's distance is that to its nearest row of the bank.

    Args:
        stages: names of features [b c_k h_k h_k], the finest first.
        sides: h_k of each.
        bank: float32 [m c], c the sum of c_k.
        norms: the bank's squared norms, float32 [m].
        matrix: what makes a map of the distances, P D P^T: float [s h_1].

    Returns:
        The names of score [b] and map [b s s].

    Raises:
        ValueError: arrays that do not fit each other.
    """
    if bank.ndim != 2 or norms.shape != bank.shape[:1] or matrix.shape[-1] != sides[0]:
        raise ValueError(
            f"bank: got bank {list(bank.shape)}, norms {list(norms.shape)}, matrix {list(matrix.shape)}, expected "
            f"[m c], [m] and [s {sides[0]}]"
        )
    side, channels = sides[0], bank.shape[1]
    joined = [_on_grid(g, average(g, x), own, side) for x, own in zip(stages, sides, strict=True)]
    features = joined[0] if len(joined) == 1 else g.add("Concat", *joined, axis=1)
    rows = g.add("Transpose", g.add("Reshape", features, g.ints(0, channels, side * side)), perm=[0, 2, 1])
    distance = g.add("Reshape", nearest(g, rows, bank, norms), g.ints(0, side, side))
    score_map = smooth(g, distance, matrix)
    return image_score(g, score_map), score_map


def average(g: Graph, x: str) -> str:
    """The mean over 3x3 pixels, zeros around the border counted: [b c h w] -> the same shape."""
    return g.add("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1], count_include_pad=1)


def nearest(g: Graph, rows: str, bank: np.ndarray, norms: np.ndarray) -> str:
    """Euclidean distance of each row [b n c] to the nearest row of the bank [m c]: [b n].

    |q - r|^2 = |q|^2 + (|r|^2 - 2 q r): the bracket is one product with the bank.
    """
    least = None
    for start in range(0, len(bank), BANK_ROWS):
        part = slice(start, start + BANK_ROWS)
        bracket = g.add("Add", g.add("MatMul", rows, -2 * bank[part].T), norms[part])
        smallest = g.add("ReduceMin", bracket, axes=[2], keepdims=0)
        least = smallest if least is None else g.add("Min", least, smallest)
    own = g.add("ReduceSum", g.add("Mul", rows, rows), g.ints(2), keepdims=0)
    return g.add("Sqrt", g.add("Max", g.add("Add", own, least), 0.0))


def half_pixel_matrix(size_out: int, size_in: int) -> np.ndarray:
    """Bilinear interpolation with half-pixel centres, the edge repeated: float64 [size_out size_in]."""
    source = np.clip((np.arange(size_out) + 0.5) * size_in / size_out - 0.5, 0, size_in - 1)
    low = np.minimum(source.astype(int), max(size_in - 2, 0))
    matrix = np.zeros((size_out, size_in))
    rows = np.arange(size_out)
    matrix[rows, low] = 1 - (source - low)
    matrix[rows, np.minimum(low + 1, size_in - 1)] += source - low
    return matrix


def _on_grid(g: Graph, x: str, own: int, side: int) -> str:
    return x if own == side else smooth(g, x, half_pixel_matrix(side, own))
