"""The networks and the GNL step of the published code in PyTorch (the extra `torch`), to measure ours beside.

Modules carry the published names, so a state dict of the published networks fits (without its unused parts: the
teacher's fourth stage and head, the bottleneck's conv4 and bn4). Images and features are float [b c h w].
Nothing else in the package imports this file.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, relu

from gnl_jax.methods.losses import LossWeights

BLOCKS = {"resnet18": (2, 2, 2, 2), "wide_resnet50_2": (3, 4, 6, 3)}


def _conv(inputs: int, outputs: int, size: int, *, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, (size - 1) // 2, bias=False)


def _scaled(inputs: int, outputs: int, size: int, scale: str) -> nn.Module:
    """A convolution that halves ("down"), keeps ("same") or doubles ("up") height and width."""
    if scale == "up":
        return nn.ConvTranspose2d(inputs, outputs, 2, 2, bias=False)
    return _conv(inputs, outputs, size, stride=2 if scale == "down" else 1)


class Block(nn.Module):
    """A basic block of two convolutions (expansion 1), or a bottleneck block of three and double width (4)."""

    def __init__(self, inputs: int, planes: int, scale: str, e: int):
        super().__init__()
        width, outputs = planes * (2 if e == 4 else 1), planes * e
        if e == 4:
            convs = _conv(inputs, width, 1), _scaled(width, width, 3, scale), _conv(width, outputs, 1)
        else:
            convs = _scaled(inputs, width, 3, scale), _conv(width, outputs, 3)
        self.depth = len(convs)
        for i, conv in enumerate(convs, 1):
            self.add_module(f"conv{i}", conv)
            self.add_module(f"bn{i}", nn.BatchNorm2d(width if i < self.depth else outputs))
        self.shortcut = "upsample" if scale == "up" else "downsample"
        changed = scale != "same" or inputs != outputs
        shortcut = nn.Sequential(_scaled(inputs, outputs, 1, scale), nn.BatchNorm2d(outputs)) if changed else None
        self.add_module(self.shortcut, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        shortcut, y = getattr(self, self.shortcut), x
        for i in range(1, self.depth + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = relu(y, inplace=True) if i < self.depth else y
        return relu(y + (x if shortcut is None else shortcut(x)), inplace=True)


def _stage(inputs: int, planes: int, blocks: int, scale: str, e: int) -> nn.Sequential:
    rest = (Block(planes * e, planes, "same", e) for _ in range(blocks - 1))
    return nn.Sequential(Block(inputs, planes, scale, e), *rest)


class Teacher(nn.Module):
    def __init__(self, blocks: tuple[int, ...], e: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = _stage(64, 64, blocks[0], "same", e)
        self.layer2 = _stage(64 * e, 128, blocks[1], "down", e)
        self.layer3 = _stage(128 * e, 256, blocks[2], "down", e)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        first = self.layer1(self.maxpool(relu(self.bn1(self.conv1(images)), inplace=True)))
        second = self.layer2(first)
        return first, second, self.layer3(second)


class Bottleneck(nn.Module):
    def __init__(self, blocks: tuple[int, ...], e: int):
        super().__init__()
        self.conv1, self.bn1 = _conv(64 * e, 128 * e, 3, stride=2), nn.BatchNorm2d(128 * e)
        self.conv2, self.bn2 = _conv(128 * e, 256 * e, 3, stride=2), nn.BatchNorm2d(256 * e)
        self.conv3, self.bn3 = _conv(128 * e, 256 * e, 3, stride=2), nn.BatchNorm2d(256 * e)
        self.bn_layer = _stage(3 * 256 * e, 512, blocks[3], "down", e)

    def forward(self, stages: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        first = relu(self.bn1(self.conv1(stages[0])), inplace=True)
        first = relu(self.bn2(self.conv2(first)), inplace=True)
        second = relu(self.bn3(self.conv3(stages[1])), inplace=True)
        return self.bn_layer(torch.cat([first, second, stages[2]], 1))


class Decoder(nn.Module):
    def __init__(self, blocks: tuple[int, ...], e: int):
        super().__init__()
        self.layer1 = _stage(512 * e, 256, blocks[0], "up", e)
        self.layer2 = _stage(256 * e, 128, blocks[1], "up", e)
        self.layer3 = _stage(128 * e, 64, blocks[2], "up", e)

    def forward(self, embedding: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        third = self.layer1(embedding)
        second = self.layer2(third)
        return self.layer3(second), second, third


class Networks(nn.Module):
    """Teacher (stored statistics), bottleneck and decoder (statistics of the batch) as they train."""

    def __init__(self, arch: str):
        super().__init__()
        if arch not in BLOCKS:
            raise ValueError(f"arch: got {arch!r}, expected {' or '.join(BLOCKS)}")
        blocks, e = BLOCKS[arch], 1 if arch == "resnet18" else 4
        self.teacher, self.bottleneck, self.decoder = (
            Teacher(blocks, e).eval(),
            Bottleneck(blocks, e),
            Decoder(blocks, e),
        )


def _distance(a: Tensor, b: Tensor) -> Tensor:
    return (1 - cosine_similarity(a.flatten(1), b.flatten(1))).mean()


def losses(networks: Networks, views: Tensor, *, teacher_gradient: bool) -> dict[str, Tensor]:
    """`ori`, `abs`, `lowf` and their sum `loss` of views [v b c h w], the first one clean, one view after the other.

    teacher_gradient: record the teacher's operations, too, as the published code does; the losses are the same.
    """
    with torch.set_grad_enabled(teacher_gradient):
        stages = [networks.teacher(view) for view in views]
    embeddings = [networks.bottleneck(s) for s in stages]
    decoded = [networks.decoder(e) for e in embeddings]
    terms = {
        "ori": sum(_distance(a, b) for a, b in zip(stages[0], decoded[0])),
        "abs": sum(_distance(embeddings[0], e) for e in embeddings[1:]),
        "lowf": sum(_distance(decoded[0][0], d[0]) for d in decoded[1:]),
    }
    weights = LossWeights()
    return terms | {"loss": sum(getattr(weights, name) * term for name, term in terms.items())}


def make_step(networks: Networks, views: Tensor, *, teacher_gradient: bool) -> Callable[[], dict[str, float]]:
    """A step of Adam on these views as published (lr 0.005, betas 0.5 and 0.999); each call takes one.

    It gives the losses before the step. teacher_gradient: as in `losses`; the teacher is never updated.
    """
    trained = [*networks.bottleneck.parameters(), *networks.decoder.parameters()]
    optimiser = torch.optim.Adam(trained, lr=0.005, betas=(0.5, 0.999))

    def step() -> dict[str, float]:
        values = losses(networks, views, teacher_gradient=teacher_gradient)
        optimiser.zero_grad()
        values["loss"].backward()
        optimiser.step()
        return {name: value.item() for name, value in values.items()}

    return step


def random_step(arch: str, size: int, batch: int, *, teacher_gradient: bool) -> Callable[[], dict[str, float]]:
    """`make_step` of new networks and three random views of so many images of size x size pixels."""
    views = torch.rand(3, batch, 3, size, size)
    return make_step(Networks(arch), views, teacher_gradient=teacher_gradient)
