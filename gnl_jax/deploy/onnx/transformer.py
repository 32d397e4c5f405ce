"""DINOv2 as nodes (`nn.dinov2`, `nn.transformer`): attention in plain products, the exact GELU by the error function.

Tokens are [b t c]; a stage, the patch tokens of a block, leaves as features [b c h h] as a ResNet's do.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gnl_jax.deploy.onnx.graph import Graph
from gnl_jax.deploy.onnx.network import Hook, Seen
from gnl_jax.nn.dinov2 import PATCH, DinoV2, Variant, patch_positions

PyTree = Any
EPSILON = 1e-6  # of every LayerNorm


def dinov2_stages(
    g: Graph, x: str, variables: PyTree, module: DinoV2, *, side: int, wanted: Sequence[int], hook: Hook
) -> Seen:
    """The wanted stages of normalised images [b 3 side side], each [b c h h] as the hook leaves it.

    Args:
        g: the graph.
        x: the name of the images.
        variables: as `DinoV2` has them.
        module: the network.
        side: of the images in pixels.
        wanted: stages; blocks after the last of them are left out.
        hook: `(stage, features) -> features`; called for the wanted stages. What it returns the next block sees.
    """
    params, sizes, seen, h = variables["params"], module.variant, {}, side // PATCH
    first = 1 + sizes.registers
    x = embeddings(g, x, params["embeddings"], module, h)
    for number in range(1, max(wanted) + 1):
        x = block(g, x, params["encoder"][f"layer_{number - 1}"], heads=sizes.heads)
        if number == sizes.blocks:
            x = layer_norm(g, x, params["layernorm"])
        if number not in wanted:
            continue
        features = _features(g, x, first, sizes, h)
        seen[number] = hook(number, features)
        if seen[number] != features and number < max(wanted):
            leading = g.add("Slice", x, g.ints(0), g.ints(first), g.ints(1))
            x = g.add("Concat", leading, _tokens(g, seen[number], sizes, h), axis=1)
    return seen


def embeddings(g: Graph, x: str, params: PyTree, module: DinoV2, h: int) -> str:
    """`nn.dinov2.Embeddings`: images [b 3 side side] -> class, register and patch tokens [b t c]; h rows of patches."""
    sizes, projection = module.variant, params["patch_embeddings"]["projection"]
    kernel = np.asarray(projection["kernel"]).transpose(3, 2, 0, 1)
    y = g.add("Conv", x, kernel, np.asarray(projection["bias"]), kernel_shape=[PATCH] * 2, strides=[PATCH] * 2)
    positions = params["position_embeddings"]
    resized = patch_positions(positions, h, h, sizes=sizes, positions=module.positions)
    patches = g.add("Add", _tokens(g, y, sizes, h), np.asarray(resized).reshape(1, h * h, sizes.width))
    leading = np.asarray(params["cls_token"]) + np.asarray(positions)[:, :1]
    if sizes.registers:
        leading = np.concatenate([leading, np.asarray(params["register_tokens"])], axis=1)
    batch = g.add("Slice", g.add("Shape", patches), g.ints(0), g.ints(1))
    shape = g.add("Concat", batch, g.ints(*leading.shape[1:]), axis=0)
    return g.add("Concat", g.add("Expand", leading, shape), patches, axis=1)


def block(g: Graph, x: str, params: PyTree, *, heads: int) -> str:
    """`nn.transformer.Block`: tokens [b t c] -> [b t c]."""
    attended = attention(g, layer_norm(g, x, params["norm1"]), params["attention"], heads=heads)
    x = g.add("Add", x, g.add("Mul", attended, np.asarray(params["layer_scale1"]["lambda1"])))
    mapped = dense(g, gelu(g, dense(g, layer_norm(g, x, params["norm2"]), params["mlp"]["fc1"])), params["mlp"]["fc2"])
    return g.add("Add", x, g.add("Mul", mapped, np.asarray(params["layer_scale2"]["lambda1"])))


def attention(g: Graph, x: str, params: PyTree, *, heads: int) -> str:
    """`nn.transformer.Attention`: softmax attention in `heads` groups of channels."""
    maps, depth = params["attention"], np.shape(params["attention"]["query"]["kernel"])[1] // heads

    def split(name: str, perm: list[int]) -> str:
        return g.add("Transpose", g.add("Reshape", dense(g, x, maps[name]), g.ints(0, 0, heads, depth)), perm=perm)

    query = g.add("Mul", split("query", [0, 2, 1, 3]), depth**-0.5)
    weights = g.add("Softmax", g.add("MatMul", query, split("key", [0, 2, 3, 1])), axis=-1)
    joined = g.add("Transpose", g.add("MatMul", weights, split("value", [0, 2, 1, 3])), perm=[0, 2, 1, 3])
    return dense(g, g.add("Reshape", joined, g.ints(0, 0, heads * depth)), params["output"]["dense"])


def gelu(g: Graph, x: str) -> str:
    """`nn.transformer.gelu`: x times the normal distribution function of x."""
    erf = g.add("Erf", g.add("Mul", x, math.sqrt(0.5)))
    return g.add("Mul", g.add("Mul", x, 0.5), g.add("Add", erf, 1.0))


def layer_norm(g: Graph, x: str, params: PyTree) -> str:
    """Mean 0 and variance 1 over the channels of a token, then a scale and a bias a channel."""
    scale, bias = (np.asarray(params[name]) for name in ("scale", "bias"))
    return g.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=EPSILON)


def dense(g: Graph, x: str, params: PyTree) -> str:
    """A linear map of the last axis."""
    return g.add("Add", g.add("MatMul", x, np.asarray(params["kernel"])), np.asarray(params["bias"]))


def _features(g: Graph, tokens: str, first: int, sizes: Variant, h: int) -> str:
    """Patch tokens, those from `first` on, as features: [b t c] -> [b c h h]."""
    patches = g.add("Slice", tokens, g.ints(first), g.ints(first + h * h), g.ints(1))
    return g.add("Reshape", g.add("Transpose", patches, perm=[0, 2, 1]), g.ints(0, sizes.width, h, h))


def _tokens(g: Graph, features: str, sizes: Variant, h: int) -> str:
    """Features [b c h h] as tokens [b h*h c]."""
    return g.add("Transpose", g.add("Reshape", features, g.ints(0, sizes.width, h * h)), perm=[0, 2, 1])
