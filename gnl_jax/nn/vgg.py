"""Multiresolution knowledge distillation's networks (KDAD): VGG-16 as the source, a narrow cloner that imitates it."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from gnl_jax.array_types import Array
from gnl_jax.nn.batch_norm import BatchNorm
from gnl_jax.nn.layers import conv2d, kaiming_normal_fan_out

Stages = tuple[tuple[int, ...], ...]  # output channels of the convolutions before each pooling

VGG16: Stages = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
# Every stage ends with the source's channels, so that from the second pooling on the two can be compared.
CLONER: Stages = ((16, 16), (16, 128), (16, 16, 256), (16, 16, 512), (16, 16, 512))

Taps = tuple[Float[Array, "b _ _ _"], ...]


class Conv3x3(nn.Module):
    """3x3 convolution with padding 1; without a bias if `bias_init` is None."""

    features: int
    kernel_init: Callable
    bias_init: Callable | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w {self.features}"]:
        """The convolution of x."""
        kernel = self.param("kernel", self.kernel_init, (3, 3, x.shape[-1], self.features))
        y = conv2d(x, kernel.astype(x.dtype), padding=1)
        if self.bias_init is None:
            return y
        bias = self.param("bias", self.bias_init, (self.features,))
        return y + bias.astype(x.dtype)[None, None, None, :]


def _pool(x: Array) -> Array:
    return nn.max_pool(x, (2, 2), strides=(2, 2))


def _check(images: Array) -> None:
    if images.ndim != 4 or images.shape[1] % 32 or images.shape[2] % 32:
        raise ValueError(f"images: got shape {images.shape}, expected [b s s 3] with s a multiple of 32")


class Source(nn.Module):
    """VGG-16 without BatchNorm up to its fifth pooling: torchvision's `features`, under its names and initialisation.

    images [b s s 3], s a multiple of 32 -> the outputs of poolings 2 to 5, [b s/4 s/4 128], [b s/8 s/8 256],
    [b s/16 s/16 512], [b s/32 s/32 512]. The classifier takes no part and is left out.
    """

    stages: Stages = VGG16

    @nn.compact
    def __call__(self, images: Float[Array, "b h w 3"]) -> Taps:
        """The four taps of images, the finest first."""
        _check(images)
        x, taps, index = images, [], 0  # index: of torch's Sequential, where ReLU and pooling count as well
        for widths in self.stages:
            for features in widths:
                conv = Conv3x3(features, kaiming_normal_fan_out, nn.initializers.zeros, name=f"features_{index}")
                x, index = nn.relu(conv(x)), index + 2
            x, index = _pool(x), index + 1
            taps.append(x)
        return tuple(taps[1:])


class Cloner(nn.Module):
    """The student of KDAD: VGG-16's shape with few channels; images as for `Source` -> taps of the same shapes.

    A BatchNorm and a ReLU follow every convolution, but only a ReLU the last one before each pooling: what is compared
    with the source is not normalised. Convolutions have no bias; Xavier-uniform. `valid` as for `BatchNorm`.
    """

    stages: Stages = CLONER

    @nn.compact
    def __call__(self, images: Float[Array, "b h w 3"], valid: Bool[Array, "b"] | None = None) -> Taps:
        """The four taps of images, the finest first."""
        _check(images)
        x, taps = images, []
        for i, widths in enumerate(self.stages):
            for j, features in enumerate(widths):
                x = Conv3x3(features, nn.initializers.xavier_uniform(), name=f"conv{i + 1}_{j}")(x)
                if j < len(widths) - 1:
                    x = BatchNorm(name=f"bn{i + 1}_{j}")(x, valid)
                x = nn.relu(x)
            x = _pool(x)
            taps.append(x)
        return tuple(taps[1:])


@jax.jit
def init_source(key: Array):
    """Random variables of `Source()`, as torchvision initialises VGG-16: Kaiming normal by fan-out, biases zero."""
    return Source().init(key, jnp.zeros((1, 32, 32, 3)))
