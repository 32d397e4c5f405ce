"""Residual blocks of teacher, bottleneck and decoder: one pair of classes, three ways to change resolution."""

from typing import NamedTuple

import flax.linen as nn
from jaxtyping import Bool, Float

from gnl_jax.array_types import Array
from gnl_jax.nn.batch_norm import BatchNorm
from gnl_jax.nn.layers import Conv, ConvTranspose2x2
from gnl_jax.ops.kept_value import kept_value


class Architecture(NamedTuple):
    """A backbone: block class, blocks in (stage 1, 2, 3, one-class embedding), channel expansion, bottleneck width."""

    bottleneck: bool
    blocks: tuple[int, int, int, int]
    expansion: int
    width: int  # inner channels of a bottleneck block per 64 planes


ARCHITECTURES = {
    "resnet18": Architecture(False, (2, 2, 2, 2), 1, 64),
    "resnet50": Architecture(True, (3, 4, 6, 3), 4, 64),
    "wide_resnet50_2": Architecture(True, (3, 4, 6, 3), 4, 128),
}


def architecture(name: str) -> Architecture:
    """The named backbone; ValueError lists the choices."""
    if name not in ARCHITECTURES:
        raise ValueError(f"arch: got {name!r}, expected one of {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]


def planes_of(features: int, arch: Architecture) -> int:
    """Planes of a stage with this many output channels. Raises ValueError unless the expansion divides them."""
    if features % arch.expansion:
        raise ValueError(f"channels: got {features}, expected a multiple of {arch.expansion}")
    return features // arch.expansion


def _resample(features: int, change: str, *, kernel_size: int, name: str) -> nn.Module:
    """A convolution that keeps ("same", "project"), halves ("down") or doubles ("up") the resolution."""
    if change == "up":
        return ConvTranspose2x2(features, name=name)
    return Conv(features, kernel_size, stride=2 if change == "down" else 1, name=name)


def _shortcut(x: Array, valid: Array | None, *, features: int, change: str) -> Array:
    if change == "same":
        return x
    prefix = "upsample" if change == "up" else "downsample"
    y = _resample(features, change, kernel_size=1, name=f"{prefix}_0")(x)
    return BatchNorm(name=f"{prefix}_1")(y, valid)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (ResNet-18). The first one, or its 2x2 transpose, changes resolution."""

    features: int
    inner: int
    change: str = "same"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *v h w c"], valid: Bool[Array, "b"] | None = None
    ) -> Float[Array, "b *v oh ow {self.features}"]:
        """Features at the side of x, half or twice it; `valid` as for `BatchNorm`."""
        y = _resample(self.features, self.change, kernel_size=3, name="conv1")(x)
        y = nn.relu(BatchNorm(name="bn1")(y, valid))
        y = BatchNorm(name="bn2")(Conv(self.features, 3, name="conv2")(y), valid)
        return kept_value(nn.relu(y + _shortcut(x, valid, features=self.features, change=self.change)))


class BottleneckBlock(nn.Module):
    """1x1, 3x3 (or 2x2 transposed), 1x1 convolutions and a shortcut; the resolution changes in the middle (v1.5)."""

    features: int
    inner: int
    change: str = "same"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *v h w c"], valid: Bool[Array, "b"] | None = None
    ) -> Float[Array, "b *v oh ow {self.features}"]:
        """Features at the side of x, half or twice it; `valid` as for `BatchNorm`."""
        y = nn.relu(BatchNorm(name="bn1")(Conv(self.inner, 1, name="conv1")(x), valid))
        y = _resample(self.inner, self.change, kernel_size=3, name="conv2")(y)
        y = nn.relu(BatchNorm(name="bn2")(y, valid))
        y = BatchNorm(name="bn3")(Conv(self.features, 1, name="conv3")(y), valid)
        return kept_value(nn.relu(y + _shortcut(x, valid, features=self.features, change=self.change)))


def stage(
    x: Float[Array, "b *v h w c"],
    valid: Bool[Array, "b"] | None,
    *,
    arch: Architecture,
    planes: int,
    blocks: int,
    change: str,
    name: str,
    remat: bool = False,
) -> Float[Array, "b *v oh ow {planes*arch.expansion}"]:
    """`blocks` residual blocks in a row inside the calling module, the first of which changes the resolution.

    Block i is named `{name}_{i}`, as torch's `{name}.{i}`.
    `remat`: of what a block computes nothing is kept for its gradient; it is computed again from the block's input.
    """
    block = BottleneckBlock if arch.bottleneck else BasicBlock
    block = nn.remat(block) if remat else block
    features, inner = planes * arch.expansion, planes * arch.width // 64
    if change == "same" and x.shape[-1] != features:
        change = "project"
    for i in range(blocks):
        x = block(features, inner, change if i == 0 else "same", name=f"{name}_{i}")(x, valid)
    return x
