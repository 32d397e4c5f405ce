"""A bank of patch features as nodes: distance of each patch to the nearest one in the bank (`ops.nearest`)."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gnl_jax.deploy.onnx.graph import Graph
from gnl_jax.deploy.onnx.scoremap import smooth
from gnl_jax.methods.bank_options import BankOptions
from gnl_jax.ops.nearest import LEAST_SQUARED_NORM, top_count
from gnl_jax.ops.patches import half_pixel_matrix
from gnl_jax.ops.scoremap import gaussian_matrix

Step = Callable[[Graph, str], str]
BANK_ROWS = 4096  # of the bank in one product: bounds the memory, whatever the bank's size


class Head(NamedTuple):
    """Names of what a bank says.

    Attributes:
        map: smoothed distances [b s s].
        worst: the image score of the distances themselves [b], None where the map's is wanted.
    """

    map: str
    worst: str | None


def memory_bank_head(
    g: Graph,
    stages: Sequence[str],
    *,
    sides: Sequence[int],
    channels: int,
    bank: Mapping[str, np.ndarray],
    size: int,
    standardised: bool = False,
    options: BankOptions = BankOptions(),
    inside: np.ndarray | None = None,
) -> Head:
    """The map of the teacher's stages by their distance to a bank.

    Patches: each stage is averaged over 3x3 with zeros around it, the coarser ones are brought to the finest one's grid
    (bilinear, half-pixel centres), and all are joined (`ops.patches.patch_embedding`). Tokens are joined as they are. A
    patch's distance is that to its nearest row of the bank.

    Args:
        g: the graph.
        stages: names of features [b c_k h_k h_k], the finest first.
        sides: h_k of each.
        channels: the sum of c_k.
        bank: "rows" [m c], "half_norms" [m]; "centre" [channels] and "components" [channels c] where it is reduced;
            "location" and "scale" of its distances where these are standardised.
        size: side of the map.
        standardised: distances minus the location, over the scale: several banks are added so.
        options: embedding, distance and image score.
        inside: which patches the image score counts, bool [h_1 h_1]; None for all.

    Raises:
        ValueError: arrays that do not fit each other.
    """
    bank = {name: np.asarray(value) for name, value in bank.items() if not isinstance(value, Mapping)}
    rows, half_norms, side = bank["rows"], bank["half_norms"], sides[0]
    wide = bank["components"].shape[-1] if "components" in bank else channels
    if rows.ndim != 2 or rows.shape[1] != wide or half_norms.shape != rows.shape[:1]:
        shapes = f"rows {list(rows.shape)} and half norms {list(half_norms.shape)}"
        raise ValueError(f"bank: got {shapes}, expected [m {wide}] and [m]")
    joined = list(stages)
    if options.embedding == "patches":
        joined = [_on_grid(g, average(g, x), own, side) for x, own in zip(stages, sides, strict=True)]
    features = joined[0] if len(joined) == 1 else g.add("Concat", *joined, axis=1)
    patches = g.add("Transpose", g.add("Reshape", features, g.ints(0, channels, side * side)), perm=[0, 2, 1])
    prepare, of_euclidean = DISTANCES[options.distance]
    patches = prepare(g, patches)
    if "components" in bank:
        patches = g.add("MatMul", g.add("Sub", patches, bank["centre"]), bank["components"])
    distances, index = nearest(g, patches, rows, half_norms)
    distances, worst = of_euclidean(g, distances), None
    if options.score != "map":
        counted = distances
        if inside is not None:
            counted = g.add("Mul", distances, inside.reshape(1, side * side).astype(np.float32))
        if options.score == "top":
            worst = top_mean(g, counted, side * side)
        else:
            worst = reweighted_score(g, patches, counted, index, rows, neighbours=options.neighbours)
    if standardised:
        distances = g.add("Div", g.add("Sub", distances, bank["location"]), bank["scale"])
    grid = g.add("Reshape", distances, g.ints(0, side, side))
    return Head(smooth(g, grid, gaussian_matrix(size) @ half_pixel_matrix(size, side)), worst)


def average(g: Graph, x: str) -> str:
    """The mean over 3x3 pixels, zeros around the border counted: [b c h w] -> the same shape."""
    return g.add("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1], count_include_pad=1)


def nearest(g: Graph, patches: str, bank: np.ndarray, half_norms: np.ndarray) -> tuple[str, str]:
    """`ops.nearest.nearest`: Euclidean distance of each patch [b n c] to the nearest row of a bank [m c], and that row.

    The nearest row r of a patch q maximises q r - |r|^2 / 2, a product with the bank. The distance is then |q - r|, so
    that nothing cancels. Of equally near rows the first is taken.

    Returns:
        distances [b n] and rows int64 [b n].
    """
    whole, best, index = g.constant(bank), "", ""
    for start in range(0, len(bank), BANK_ROWS):
        stop = min(start + BANK_ROWS, len(bank))
        part = g.add("Transpose", g.add("Slice", whole, g.ints(start), g.ints(stop), g.ints(0)), perm=[1, 0])
        likeness = g.add("Sub", g.add("MatMul", patches, part), half_norms[start:stop])
        most = g.add("ReduceMax", likeness, axes=[2], keepdims=0)
        where = g.add("Add", g.add("ArgMax", likeness, axis=2, keepdims=0), g.constant(start, np.int64))
        if best:
            index = g.add("Where", g.add("Greater", most, best), where, index)
            best = g.add("Max", best, most)
        else:
            best, index = most, where
    return length(g, g.add("Sub", patches, g.add("Gather", whole, index, axis=0)), 2), index


def unit_vectors(g: Graph, x: str) -> str:
    """`ops.nearest.unit_vectors` of [b n c]."""
    squared = g.add("ReduceSum", g.add("Mul", x, x), g.ints(2), keepdims=1)
    return g.add("Div", x, g.add("Sqrt", g.add("Max", squared, LEAST_SQUARED_NORM)))


# `ops.nearest.DISTANCES`: what is done to patches before, and to Euclidean distances after.
DISTANCES: dict[str, tuple[Step, Step]] = {
    "euclidean": (lambda g, x: x, lambda g, x: x),
    "unit": (unit_vectors, lambda g, x: x),
    "cosine": (unit_vectors, lambda g, x: g.add("Mul", g.add("Mul", x, x), 0.5)),
}


def top_mean(g: Graph, distances: str, n: int) -> str:
    """`ops.nearest.top_mean`: [b n] -> [b]."""
    largest, _ = g.many("TopK", distances, g.ints(top_count(n)), outputs=2, axis=1, largest=1, sorted=1)
    return g.add("ReduceMean", largest, axes=[1], keepdims=0)


def length(g: Graph, x: str, axis: int) -> str:
    """The Euclidean norm along an axis, which goes."""
    return g.add("Sqrt", g.add("ReduceSum", g.add("Mul", x, x), g.ints(axis), keepdims=0))


def reweighted_score(g: Graph, patches: str, distances: str, index: str, bank: np.ndarray, *, neighbours: int) -> str:
    """`ops.nearest.reweighted_score`: PatchCore's image score [b], less where the bank is sparse around its row."""
    most = g.add("ReduceMax", distances, axes=[1], keepdims=0)
    count = min(neighbours, len(bank))
    if count < 2:
        return most
    whole, one = g.constant(bank), g.ints(1)
    worst = g.add("ArgMax", distances, axis=1, keepdims=1)
    row = g.add("Gather", whole, g.add("GatherElements", index, worst, axis=1), axis=0)  # [b 1 c]
    off = g.add("Sub", g.add("Unsqueeze", whole, g.ints(0)), row)
    squared = g.add("ReduceSum", g.add("Mul", off, off), g.ints(2), keepdims=0)
    _, near = g.many("TopK", squared, g.ints(count), outputs=2, axis=1, largest=0, sorted=1)
    patch = g.add("Unsqueeze", g.add("GatherND", patches, worst, batch_dims=1), one)
    away = length(g, g.add("Sub", g.add("Gather", whole, near, axis=0), patch), 2)
    share = g.add("Slice", g.add("Softmax", away, axis=1), g.ints(0), one, one)
    return g.add("Mul", g.add("Sub", 1.0, g.add("Squeeze", share, one)), most)


def _on_grid(g: Graph, x: str, own: int, side: int) -> str:
    return x if own == side else smooth(g, x, half_pixel_matrix(side, own))
