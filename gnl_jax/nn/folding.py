"""Stored batch statistics put into the convolutions before them: the same function of an image in fewer operations."""

from typing import Any

import flax.traverse_util
import jax
from jax import lax

from gnl_jax.nn.batch_norm import EPSILON

PyTree = Any


@jax.jit
def fold(variables: PyTree) -> PyTree:
    """Variables {"params", "batch_stats"} of a `ResNet` or `Student` -> {"params"} that score as they do, to rounding.

    A normalisation with stored statistics is y * gain + shift for each channel. The gain goes into the kernel of the
    convolution whose result y is, and `BatchNorm` adds the shift, which a GPU's library then does in the same pass as
    the convolution. Variables without batch statistics, of a transformer or folded before, stay as they are. Not for
    training.
    """
    if "batch_stats" not in variables:
        return {"params": variables["params"]}
    params = flax.traverse_util.flatten_dict(variables["params"])
    stats = flax.traverse_util.flatten_dict(variables["batch_stats"])
    folded = dict(params)
    for *path, last in params:
        if last != "scale":
            continue
        norm, conv = tuple(path), (*path[:-1], _convolution(path[-1]))
        gain = params[*norm, "scale"] * lax.rsqrt(stats[*norm, "var"] + EPSILON)
        folded[*conv, "kernel"] = params[*conv, "kernel"] * gain[None, None, None, :]
        folded[*norm, "bias"] = params[*norm, "bias"] - stats[*norm, "mean"] * gain
        del folded[*norm, "scale"]
    return {"params": flax.traverse_util.unflatten_dict(folded)}


def _convolution(norm: str) -> str:
    """The name of the convolution whose result a normalisation of this name is given, in these networks."""
    return norm.removesuffix("1") + "0" if norm.endswith("sample_1") else norm.replace("bn", "conv")
