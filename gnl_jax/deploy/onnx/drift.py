"""Drift as nodes (`ops.drift`): how far sorted features are from those of the images learned from."""

import math

import numpy as np

from gnl_jax.deploy.onnx.graph import Graph
from gnl_jax.deploy.onnx.matching import Sorted
from gnl_jax.ops.drift import HIGHEST, LEAST_SPREAD, LOWEST


def stage_drift(g: Graph, found: Sorted, barycentre: np.ndarray, spread: np.ndarray, n: int) -> str:
    """One stage's mean over channels of deviation / spread: sorted features [b c n], [m c] and [c] -> [b].

    Divided before the mean: OpenVINO fuses a mean with a division after it, and from the second image of a batch on
    divides by other channels' spreads.
    """
    low, high = math.floor(LOWEST * n), math.ceil(HIGHEST * n)
    middle = g.add("Slice", found.values, g.ints(low), g.ints(high), g.ints(2))
    deviation = g.add("Abs", g.add("Sub", middle, barycentre.T[None]))
    least = LEAST_SPREAD * spread.mean() + 1e-12
    relative = g.add("Div", deviation, np.maximum(spread, least)[None, :, None])
    return g.add("ReduceMean", relative, axes=[1, 2], keepdims=0)
