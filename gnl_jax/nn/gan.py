"""Generators, critics and encoders of f-AnoGAN: one set of dense networks, one of convolutional ones.

In training every network is given `valid` bool [b], the rows that count, and writes its BatchNorm statistics to the
collection `statistics` (`fold_statistics` moves the stored ones); without it, it is in evaluation mode. Products run in
`dtype`, results are at least float32. Weights and biases begin as torch's do by default.

Published code: a normal initialisation is written down, but never applied.
"""

import functools
import itertools
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float

from gnl_jax.array_types import Array
from gnl_jax.nn.batch_norm import BatchNorm
from gnl_jax.nn.layers import conv2d, torch_uniform, upsample_2x
from gnl_jax.ops.precision import at_least_float32

LATENT = 100
DENSE_SIZE = 28
TRUNK_FEATURES = (16, 32, 64, 128)
DROP_RATE = 0.25
# Published code: `BatchNorm(c, 0.8)`, meant as the momentum, sets epsilon.
EPSILONS = {"published": 0.8, "torch": 1e-5}
Noise = Float[Array, "b drops"] | None
_leaky_relu = functools.partial(nn.leaky_relu, negative_slope=0.2)


class BiasedLinear(nn.Module):
    """x W + bias."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "b c"]) -> Float[Array, "b {self.features}"]:
        """The map of x."""
        init = functools.partial(torch_uniform, fan_in=x.shape[-1])
        kernel = self.param("kernel", init, (x.shape[-1], self.features))
        bias = self.param("bias", init, (self.features,))
        return x @ kernel.astype(x.dtype) + bias.astype(x.dtype)[None, :]


class BiasedConv3x3(nn.Module):
    """3x3 convolution with padding 1, and bias."""

    features: int
    stride: int = 1

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"]
    ) -> Float[Array, "b h//{self.stride} w//{self.stride} {self.features}"]:
        """The convolution of x."""
        init = functools.partial(torch_uniform, fan_in=9 * x.shape[-1])
        kernel = self.param("kernel", init, (3, 3, x.shape[-1], self.features))
        bias = self.param("bias", init, (self.features,))
        y = conv2d(x, kernel.astype(x.dtype), stride=self.stride, padding=1)
        return y + bias.astype(x.dtype)[None, None, None, :]


class DenseGenerator(nn.Module):
    """Images in [-1, 1] from 100 numbers: 128, 256, 512, 1024 units, BatchNorm on all but the first."""

    epsilon: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, z: Float[Array, "b 100"], valid: Bool[Array, "b"] | None = None) -> Float[Array, "b 28 28 1"]:
        """Images of z; `valid` as for `BatchNorm`."""
        y = _leaky_relu(BiasedLinear(128, name="linear0")(z.astype(self.dtype)))
        for i, features in enumerate((256, 512, 1024), start=1):
            y = BiasedLinear(features, name=f"linear{i}")(y)
            y = BatchNorm(self.epsilon, name=f"norm{i}")(y[:, None, None, :], valid)[:, 0, 0, :]
            y = _leaky_relu(y)
        y = BiasedLinear(DENSE_SIZE**2, name="linear4")(y)
        return jnp.tanh(at_least_float32(y)).reshape(-1, DENSE_SIZE, DENSE_SIZE, 1)


class ConvolutionalGenerator(nn.Module):
    """Images in [-1, 1] from 100 numbers: 128 maps of s/4, twice doubled to the nearest and convolved."""

    size: int
    epsilon: float
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, z: Float[Array, "b 100"], valid: Bool[Array, "b"] | None = None
    ) -> Float[Array, "b {self.size} {self.size} 3"]:
        """Images of z; `valid` as for `BatchNorm`."""
        start = self.size // 4
        y = BiasedLinear(start * start * 128, name="linear")(z.astype(self.dtype)).reshape(-1, start, start, 128)
        y = BatchNorm(EPSILONS["torch"], name="norm0")(y, valid)  # Published code: the one that is given no 0.8
        for i, features in enumerate((128, 64), start=1):
            y = BiasedConv3x3(features, name=f"conv{i}")(upsample_2x(y))
            y = _leaky_relu(BatchNorm(self.epsilon, name=f"norm{i}")(y, valid))
        return jnp.tanh(at_least_float32(BiasedConv3x3(3, name="conv3")(y)))


class DenseTrunk(nn.Module):
    """Features of images; nothing is dropped or normalised."""

    dtype: Any = jnp.float32
    drops = 0  # channels that may be dropped

    @nn.compact
    def __call__(
        self, x: Float[Array, "b 28 28 1"], valid: Bool[Array, "b"] | None = None, noise: Noise = None
    ) -> Float[Array, "b 256"]:
        """Features of images x; `valid` and `noise` change nothing."""
        y = x.astype(self.dtype).reshape(x.shape[0], -1)
        for i, features in enumerate((512, 256)):
            y = _leaky_relu(BiasedLinear(features, name=f"linear{i}")(y))
        return at_least_float32(y)


class ConvolutionalTrunk(nn.Module):
    """Features of images: four convolutions of stride 2, each with channel dropout.

    Training takes `noise`, uniform in [0, 1), [b drops]: a number for each image and each channel that may be dropped.
    """

    epsilon: float
    dtype: Any = jnp.float32
    drops = sum(TRUNK_FEATURES)

    @nn.compact
    def __call__(
        self, x: Float[Array, "b s s 3"], valid: Bool[Array, "b"] | None = None, noise: Noise = None
    ) -> Float[Array, "b (s//16)**2*128"]:
        """Features of images x; in training with `valid`, as for `BatchNorm`, and `noise`."""
        y = x.astype(self.dtype)
        ends = tuple(itertools.accumulate(TRUNK_FEATURES))
        for i, (features, end) in enumerate(zip(TRUNK_FEATURES, ends, strict=True)):
            y = _leaky_relu(BiasedConv3x3(features, stride=2, name=f"conv{i}")(y))
            if valid is not None:
                if noise is None:
                    raise ValueError(f"noise: got None in training, expected [b {self.drops}]")
                y = _drop_channels(y, noise[:, end - features : end])
            if i > 0:
                y = BatchNorm(self.epsilon, name=f"norm{i}")(y, valid)
        return at_least_float32(y.reshape(y.shape[0], -1))


class Critic(nn.Module):
    """How real images look, and the trunk's features."""

    trunk: nn.Module

    @nn.compact
    def __call__(
        self, x: Float[Array, "b s s c"], valid: Bool[Array, "b"] | None = None, noise: Noise = None
    ) -> tuple[Float[Array, "b"], Float[Array, "b f"]]:
        """Validity and features of images x; `valid` and `noise` as the trunk takes them."""
        features = self.trunk(x, valid, noise)
        validity = BiasedLinear(1, name="head")(features.astype(self.trunk.dtype))
        return at_least_float32(validity[:, 0]), features


class Encoder(nn.Module):
    """Images -> z in (-1, 1)."""

    trunk: nn.Module

    @nn.compact
    def __call__(
        self, x: Float[Array, "b s s c"], valid: Bool[Array, "b"] | None = None, noise: Noise = None
    ) -> Float[Array, "b 100"]:
        """The z of images x; `valid` and `noise` as the trunk takes them."""
        features = self.trunk(x, valid, noise)
        return jnp.tanh(at_least_float32(BiasedLinear(LATENT, name="head")(features.astype(self.trunk.dtype))))


class Networks(NamedTuple):
    """The three networks of one kind, for images [b size size channels]."""

    generator: nn.Module
    critic: Critic
    encoder: Encoder
    size: int
    channels: int

    @property
    def convolutional(self) -> bool:
        """Whether the networks are those for colour images."""
        return isinstance(self.generator, ConvolutionalGenerator)


def dense_networks(size: int, *, epsilon: float, dtype: Any = jnp.float32) -> Networks:
    """The published networks for MNIST; ValueError unless images have 28 pixels."""
    if size != DENSE_SIZE:
        raise ValueError(f"dataset.size: got {size}, expected {DENSE_SIZE} for the network 'dense'")
    trunk = DenseTrunk(dtype)
    return Networks(DenseGenerator(epsilon, dtype), Critic(trunk), Encoder(trunk), size, channels=1)


def convolutional_networks(size: int, *, epsilon: float, dtype: Any = jnp.float32) -> Networks:
    """The networks published for MVTec AD at 64 pixels, at any multiple of 16 from 32 on; ValueError for another size.

    Published code: the trunk ends in a BatchNorm, so that the mean validity of a batch only depends on where in the
    image its features are; at 16 pixels, where there is one place, the critic could learn nothing.
    """
    if size < 32 or size % 16:
        raise ValueError(
            f"dataset.size: got {size}, expected a multiple of 16, 32 or more, for the network 'convolutional'"
        )
    trunk = ConvolutionalTrunk(epsilon, dtype)
    return Networks(ConvolutionalGenerator(size, epsilon, dtype), Critic(trunk), Encoder(trunk), size, channels=3)


NETWORKS = {"dense": dense_networks, "convolutional": convolutional_networks}


def _drop_channels(x: Array, noise: Array) -> Array:
    """torch's Dropout2d: channels [b c] whose noise is below the rate are zero, the others scaled to keep the mean."""
    keep = (noise >= DROP_RATE).astype(x.dtype) / (1 - DROP_RATE)
    return x * keep[:, None, None, :]
