"""Teacher and student as nodes: convolutions whose normalisation was folded into them (`nn.folding.fold`)."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gnl_jax.deploy.onnx.graph import Graph
from gnl_jax.nn.blocks import Architecture, architecture
from gnl_jax.nn.folding import fold
from gnl_jax.nn.resnet import ResNet

PyTree = Any
Params = Any  # nested dict of arrays, as `fold` leaves them


def convolution(g: Graph, x: str, params: Params, conv: str, norm: str, *, change: str = "same") -> str:
    """`nn.layers.Conv` or, to go "up", `ConvTranspose2x2`, and the bias that its normalisation became."""
    kernel, bias = np.asarray(params[conv]["kernel"]), np.asarray(params[norm]["bias"])
    if change == "up":
        return g.add("ConvTranspose", x, kernel.transpose(2, 3, 0, 1), bias, kernel_shape=[2, 2], strides=[2, 2])
    side = kernel.shape[0]
    strides = [2, 2] if change == "down" else [1, 1]
    layout = kernel.transpose(3, 2, 0, 1)
    return g.add("Conv", x, layout, bias, kernel_shape=[side, side], strides=strides, pads=[(side - 1) // 2] * 4)


def block(g: Graph, x: str, params: Params, *, bottleneck: bool, change: str) -> str:
    """`nn.blocks.BasicBlock` or `BottleneckBlock`."""
    changes = ("same", change, "same") if bottleneck else (change, "same")
    y = x
    for i, how in enumerate(changes, 1):
        y = convolution(g, y, params, f"conv{i}", f"bn{i}", change=how)
        if i < len(changes):
            y = g.add("Relu", y)
    for prefix in ("downsample", "upsample"):
        if f"{prefix}_0" in params:
            x = convolution(g, x, params, f"{prefix}_0", f"{prefix}_1", change=change)
    return g.add("Relu", g.add("Add", y, x))


def stage(g: Graph, x: str, params: Params, *, arch: Architecture, blocks: int, change: str, name: str) -> str:
    """`nn.blocks.stage`: so many blocks, the first of which changes the resolution."""
    for i in range(blocks):
        x = block(g, x, params[f"{name}_{i}"], bottleneck=arch.bottleneck, change=change if i == 0 else "same")
    return x


def stem(g: Graph, x: str, params: Params) -> str:
    """What comes before the teacher's first stage: normalised images [b 3 s s] -> [b 64 s/4 s/4]."""
    x = g.add("Relu", convolution(g, x, params, "conv1", "bn1", change="down"))
    return g.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)


def teacher_stage(g: Graph, x: str, params: Params, k: int, *, arch: Architecture) -> str:
    """Stage k (1, 2 or 3) of `nn.resnet.ResNet`."""
    change = "same" if k == 1 else "down"
    return stage(g, x, params, arch=arch, blocks=arch.blocks[k - 1], change=change, name=f"layer{k}")


def embedding(g: Graph, stages: tuple[str, str, str], params: Params, *, arch: Architecture) -> str:
    """`nn.bottleneck.Bottleneck`: the three stages as one embedding."""
    low, middle, high = stages

    def halve(x: str, i: int) -> str:
        return g.add("Relu", convolution(g, x, params, f"conv{i}", f"bn{i}", change="down"))

    fused = g.add("Concat", halve(halve(low, 1), 2), halve(middle, 3), high, axis=1)
    return stage(g, fused, params, arch=arch, blocks=arch.blocks[3], change="down", name="bn_layer")


def student(g: Graph, stages: tuple[str, str, str], params: Params, *, arch: Architecture) -> tuple[str, str, str]:
    """`nn.decoder.Student`: the stages as the student rebuilds them, in the teacher's order."""
    x, decoded = embedding(g, stages, params["bottleneck"], arch=arch), []
    for k in (1, 2, 3):
        x = stage(g, x, params["decoder"], arch=arch, blocks=arch.blocks[k - 1], change="up", name=f"layer{k}")
        decoded.append(x)
    third, second, first = decoded
    return first, second, third


Hook = Callable[[int, str], str]
Seen = dict[int, str]  # stages by number


def resnet_stages(
    g: Graph, x: str, variables: PyTree, module: ResNet, *, side: int, wanted: Sequence[int], hook: Hook
) -> Seen:
    """The wanted stages of normalised images [b 3 side side], each [b c h h] as the hook leaves it.

    Args:
        g: the graph.
        x: the name of the images.
        variables: as `ResNet` has them; folded or not.
        module: the network.
        side: of the images in pixels.
        wanted: stages; what comes after the last of them is left out.
        hook: `(stage, features) -> features`; called for the wanted stages. What it returns the next stage sees.
    """
    params, arch, seen = fold(variables)["params"], architecture(module.arch), {}
    x = stem(g, x, params)
    for k in range(1, max(wanted) + 1):
        x = teacher_stage(g, x, params, k, arch=arch)
        if k in wanted:
            x = seen[k] = hook(k, x)
    return seen


def teacher(
    g: Graph, x: str, params: Params, *, arch: Architecture, hook: Hook, first: str = ""
) -> tuple[str, str, str]:
    """`nn.resnet.ResNet`: the three stages of normalised images; `hook(k, stage)` replaces stages 1 and 2.

    Args:
        g: the graph.
        x: the name of the images.
        params: of the network, folded.
        arch: what the network is made of.
        hook: `(stage, features) -> features`.
        first: the name of stage 1 before the hook, where it is known.
    """
    stages = []
    for k in (1, 2, 3):
        x = first if k == 1 and first else teacher_stage(g, x if k > 1 else stem(g, x, params), params, k, arch=arch)
        x = hook(k, x) if k < 3 else x
        stages.append(x)
    first, second, third = stages
    return first, second, third
