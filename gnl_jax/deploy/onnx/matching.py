"""Sorting and feature distribution matching as nodes; the same order of equal values wherever the graph runs."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gnl_jax.deploy.onnx.graph import Graph

MOST_OF_TENSORRT = 3840  # values that TensorRT's TopK returns


class Sorted(NamedTuple):
    """The values of each channel, ascending [b c n], where each came from [b c n], and the values as they were."""

    values: str
    order: str
    flat: str


Sort = Callable[[Graph, str, int], tuple[str, str]]


def sort_channels(g: Graph, x: str, n: int, *, sort: Sort) -> Sorted:
    """Sorts features after ReLU, [b c h w] with h * w = n, as `ops.matching.stable_order` does.

    ReLU leaves many zeros, and not every runtime keeps equal values in their order. So each zero is given a negative
    number of its own that rises with its position: zeros come first, in raster order, and are made zero again.
    """
    flat = g.add("Reshape", x, g.ints(0, 0, n))
    distinct = g.add("Where", g.add("Greater", flat, 0.0), flat, np.arange(-n, 0)[None, None])
    values, order = sort(g, distinct, n)
    return Sorted(g.add("Relu", values), order, flat)


def sort_values(g: Graph, x: str, n: int, *, sort: Sort) -> Sorted:
    """Sorts features of either sign, [b c h w] with h * w = n: a transformer's tokens, which are hardly ever equal."""
    flat = g.add("Reshape", x, g.ints(0, 0, n))
    return Sorted(*sort(g, flat, n), flat)


def sort_once(g: Graph, x: str, n: int) -> tuple[str, str]:
    """Ascending values and their indices along the last axis, by one TopK, which ONNX defines to be stable."""
    values, indices = g.many("TopK", x, g.ints(n), outputs=2, axis=-1, largest=0, sorted=1)
    return values, indices


def sort_in_halves(g: Graph, x: str, n: int) -> tuple[str, str]:
    """As `sort_once` where n is more than TensorRT's TopK returns: the smallest half, and the largest from behind.

    Among equal values TopK takes the first. From behind these are the last, so the two halves complete each other.

    Raises:
        ValueError: a size at which two halves are not enough.
    """
    if n <= MOST_OF_TENSORRT:
        return sort_once(g, x, n)
    low = (n + 1) // 2
    if low > MOST_OF_TENSORRT:
        raise ValueError(
            f"target: a stage has {n} values in each channel, expected at most {2 * MOST_OF_TENSORRT} for TensorRT; "
            "fit at a smaller size"
        )
    smallest = g.many("TopK", x, g.ints(low), outputs=2, axis=-1, largest=0, sorted=1)
    behind = g.many("TopK", _reversed(g, x, n), g.ints(n - low), outputs=2, axis=-1, largest=1, sorted=1)
    largest = [_reversed(g, part, n - low) for part in behind]
    largest[1] = g.add("Sub", g.constant(n - 1, np.int64), largest[1])
    values, order = (g.add("Concat", *parts, axis=-1) for parts in zip(smallest, largest))
    return values, order


def sort_by_position(g: Graph, x: str, n: int) -> tuple[str, str]:
    """As `sort_once` where TopK takes equal values in any order (OpenVINO): they are put in theirs by a second TopK.

    The second one sorts whole numbers, (how many other values are smaller) * n + index, no two of which are equal.
    """
    values, loose = g.many("TopK", x, g.ints(n), outputs=2, axis=-1, largest=0, sorted=1)
    before = g.add("Slice", values, g.ints(0), g.ints(n - 1), g.ints(2))
    after = g.add("Slice", values, g.ints(1), g.ints(n), g.ints(2))
    steps = g.add("Cast", g.add("Not", g.add("Equal", before, after)), to="int32")
    steps = g.add("Pad", steps, g.ints(0, 0, 1, 0, 0, 0), g.constant(0, np.int32))
    rank = g.add("CumSum", steps, g.constant(2, np.int64))
    size = g.constant(n, np.int32)
    key = g.add("Add", g.add("Mul", rank, size), g.add("Cast", loose, to="int32"))
    ordered, _ = g.many("TopK", key, g.ints(n), outputs=2, axis=-1, largest=0, sorted=1)
    return values, g.add("Cast", g.add("Mod", ordered, size), to="int64")


def _reversed(g: Graph, x: str, n: int) -> str:
    return g.add("Slice", x, g.ints(-1), g.ints(-n - 1), g.ints(2), g.ints(-1))


SORTS: dict[str, Sort] = {"onnxruntime": sort_once, "openvino": sort_by_position, "tensorrt": sort_in_halves}


def efdm(g: Graph, x: str, found: Sorted, reference: np.ndarray, alpha: float) -> str:
    """`ops.matching.efdm`: features [b c h w], reference [h*w c] ascending in each channel."""
    side = math.isqrt(len(reference))
    style = g.add("Expand", np.asarray(reference).T[None], g.add("Shape", found.flat))
    placed = g.add("ScatterElements", found.flat, found.order, style, axis=-1)
    placed = g.add("Reshape", placed, g.ints(0, 0, side, side))
    return g.add("Add", g.add("Mul", x, np.float32(1) - np.float32(alpha)), g.add("Mul", placed, alpha))


def mixstyle(g: Graph, x: str, reference: np.ndarray, alpha: float) -> str:
    """`ops.matching.mixstyle`; the variance in two passes."""
    n, exact, shape = len(reference), np.asarray(reference, np.float64), (1, -1, 1, 1)
    mean = g.add("ReduceMean", x, axes=[2, 3], keepdims=1)
    off = g.add("Sub", x, mean)
    total = g.add("ReduceSum", g.add("Mul", off, off), g.ints(2, 3), keepdims=1)
    sigma = g.add("Sqrt", g.add("Add", g.add("Mul", total, 1 / (n - 1)), 1e-6))
    style_mean = exact.mean(0).reshape(shape)
    style_sigma = np.sqrt(exact.var(0, ddof=1) + 1e-6).reshape(shape)
    scale = g.add("Add", g.add("Mul", sigma, 1 - alpha), alpha * style_sigma)
    shift = g.add("Add", g.add("Mul", mean, 1 - alpha), alpha * style_mean)
    return g.add("Add", g.add("Mul", g.add("Div", off, sigma), scale), shift)


def match(g: Graph, x: str, found: Sorted | None, reference: np.ndarray, *, kind: str, alpha: float) -> str:
    """`ops.matching.MATCHINGS[kind]`; only mixstyle needs no sorted features."""
    if kind == "mixstyle":
        return mixstyle(g, x, reference, alpha)
    if kind == "efdm" and found is not None:
        return efdm(g, x, found, reference, alpha)
    if kind == "both" and found is not None:
        both = g.add("Add", efdm(g, x, found, reference, alpha), mixstyle(g, x, reference, alpha))
        return g.add("Mul", both, 0.5)
    raise ValueError(f"matching: got {kind!r}, expected one of none, efdm, mixstyle, both")
