"""The LeNets of Deep SVDD and the decoders that pretrain them (Ruff et al., 2018; names of the published code).

Nothing has a bias and no BatchNorm has parameters: with either, an encoder could map everything to the centre.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Bool, Float

from gnl_jax.array_types import Array
from gnl_jax.nn.batch_norm import BatchNorm
from gnl_jax.nn.layers import conv2d, torch_conv_transpose_uniform, torch_uniform, upsample_2x

KERNEL_SIZE = 5
Initialiser = Callable[..., Array]


# torch's xavier_uniform_ with the gain of LeakyReLU(0.01), sqrt(2 / (1 + 0.01^2)): U(-b, b), b = gain sqrt(6 / (in +
# out)). Fan in and fan out are swapped for a ConvTranspose2d, which leaves their sum alone.
xavier_leaky = nn.initializers.variance_scaling(2 / (1 + 0.01**2), "fan_avg", "uniform", dtype=jnp.float32)


def max_pool_2x2(x: Float[Array, "b h w c"]) -> Float[Array, "b h//2 w//2 c"]:
    """The largest of each 2x2 pixels; the gradient goes to the first of equal ones, as in torch.

    Three comparisons: six times faster than the gradient of `nn.max_pool` on a CPU (32x32x32, batch 64).
    """

    def larger(a: Array, b: Array) -> Array:
        return jnp.where((b > a) | jnp.isnan(b), b, a)  # torch's rule; a NaN wins

    x = larger(x[:, :, ::2], x[:, :, 1::2])
    return larger(x[:, ::2], x[:, 1::2])


class _Conv5x5(nn.Module):
    """5x5 convolution that keeps the resolution."""

    features: int
    kernel_init: Initialiser

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = (KERNEL_SIZE, KERNEL_SIZE, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        return conv2d(x, kernel.astype(x.dtype), padding=2)


class ConvTranspose5x5(nn.Module):
    """torch's ConvTranspose2d(5, stride 1, padding p), h -> h + 4 - 2p: y[i+a-p, j+d-p, o] += x[i, j, c] k[a, d, c, o].

    With stride 1 that is a correlation with the kernel turned by half a circle and padding 4 - p.
    """

    features: int
    padding: int = 2
    kernel_init: Initialiser = torch_conv_transpose_uniform

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"]
    ) -> Float[Array, "b h+4-2*{self.padding} w+4-2*{self.padding} {self.features}"]:
        """The convolution of x."""
        shape = (KERNEL_SIZE, KERNEL_SIZE, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape)
        return conv2d(x, kernel[::-1, ::-1].astype(x.dtype), padding=KERNEL_SIZE - 1 - self.padding)


def _norm(name: str) -> BatchNorm:
    return BatchNorm(epsilon=1e-4, affine=False, name=name)


class LeNetEncoder(nn.Module):
    """5x5 convolutions, each with BatchNorm, LeakyReLU and 2x2 pooling, then a matrix."""

    convolutions: tuple[int, ...]
    features: int
    kernel_init: Initialiser

    @nn.compact
    def __call__(
        self, x: Float[Array, "b s s c"], valid: Bool[Array, "b"] | None = None
    ) -> Float[Array, "b {self.features}"]:
        """Embeddings of x; `valid` as for `BatchNorm`."""
        for i, features in enumerate(self.convolutions, start=1):
            x = _Conv5x5(features, self.kernel_init, name=f"conv{i}")(x)
            x = max_pool_2x2(nn.leaky_relu(_norm(f"bn{i}")(x, valid)))
        x = x.transpose(0, 3, 1, 2).reshape(len(x), -1)  # torch's order of the matrix's rows
        return nn.Dense(self.features, use_bias=False, dtype=x.dtype, kernel_init=torch_uniform, name="fc1")(x)


def _grid(z: Array) -> Array:
    """[b 16c] -> [b 4 4 c], in torch's order."""
    return z.reshape(len(z), -1, 4, 4).transpose(0, 2, 3, 1)


class MnistDecoder(nn.Module):
    """Embeddings -> images in (0, 1)."""

    @nn.compact
    def __call__(self, z: Float[Array, "b 32"], valid: Bool[Array, "b"] | None = None) -> Float[Array, "b 28 28 1"]:
        """Images of z; `valid` as for `BatchNorm`."""
        x = upsample_2x(nn.leaky_relu(_grid(z)))
        x = ConvTranspose5x5(4, name="deconv1")(x)
        x = upsample_2x(nn.leaky_relu(_norm("bn3")(x, valid)))
        x = ConvTranspose5x5(8, padding=3, name="deconv2")(x)  # 16x16 -> 14x14
        x = upsample_2x(nn.leaky_relu(_norm("bn4")(x, valid)))
        return nn.sigmoid(ConvTranspose5x5(1, name="deconv3")(x))


class CifarDecoder(nn.Module):
    """Embeddings -> images in (0, 1).

    The embeddings themselves are normalised first: batch statistics need two valid rows.
    """

    @nn.compact
    def __call__(self, z: Float[Array, "b 128"], valid: Bool[Array, "b"] | None = None) -> Float[Array, "b 32 32 3"]:
        """Images of z; `valid` as for `BatchNorm`."""
        z = _norm("bn1d")(z[:, None, None, :], valid)[:, 0, 0]
        x = ConvTranspose5x5(128, kernel_init=xavier_leaky, name="deconv1")(nn.leaky_relu(_grid(z)))
        for i, features in enumerate((64, 32, 3), start=2):
            x = upsample_2x(nn.leaky_relu(_norm(f"bn{i + 2}")(x, valid)))
            x = ConvTranspose5x5(features, kernel_init=xavier_leaky, name=f"deconv{i}")(x)
        return nn.sigmoid(x)


class Autoencoder(nn.Module):
    """Encoder, then decoder; their variables lie under these two names."""

    encoder: nn.Module
    decoder: nn.Module

    def __call__(self, x: Float[Array, "b s s c"], valid: Bool[Array, "b"] | None = None) -> Float[Array, "b s s c"]:
        """Images x as rebuilt from their embeddings; `valid` as for `BatchNorm`."""
        return self.decoder(self.encoder(x, valid), valid)


class LeNet(NamedTuple):
    """A published pair of networks, for images [size size channels]; `min_valid` rows make batch statistics."""

    size: int
    channels: int
    encoder: LeNetEncoder
    decoder: nn.Module
    min_valid: int  # of the autoencoder; the encoder alone needs one

    @property
    def autoencoder(self) -> Autoencoder:
        """Encoder and decoder as one module."""
        return Autoencoder(self.encoder, self.decoder)


LENETS = {
    "mnist": LeNet(28, 1, LeNetEncoder((8, 4), 32, torch_uniform), MnistDecoder(), min_valid=1),
    "cifar10": LeNet(32, 3, LeNetEncoder((32, 64, 128), 128, xavier_leaky), CifarDecoder(), min_valid=2),
}
