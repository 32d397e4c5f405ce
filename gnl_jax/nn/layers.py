"""Convolutions in torch's geometry and a BatchNorm that leaves its statistics to the caller.

Every convolution pads explicitly: "SAME" in lax pads an even input by (0, 1) where torch pads (1, 1).
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from gnl_jax.array_types import Array
from gnl_jax.nn.bands import bands_of, conv_in_bands
from gnl_jax.ops.cpu_program import is_for_this_cpu

# Up to this many output positions a convolution is written as one matrix product over gathered patches. Measured
# on a 2-core CPU (batch 48): 3x3 on 2x2x256, 32 ms -> 1.3 ms, its weight gradient unchanged; at 8x8 both are equal,
# the gradients 1.1 to 2 times faster; from 16x16 on the library convolution wins.
PATCH_POSITIONS = 64
# For one image on this CPU a strided convolution is also written so from this many values of its kernel on, where there
# are no more positions than features: then patches are smaller than the kernel. Measured on a 2-core CPU: 3x3 on
# 32x32x512, to 1,024 features 16.4 ms -> 14.0 ms, to 512 9.4 ms -> 8.0 ms; without stride nothing.
LARGE_KERNEL = 2_000_000
# Up to this many, one product for each position, without its patch's padding. Measured there, with gradients: 3x3 on
# 2x2x256 6.6 ms -> 4.7 ms, on 2x2x512 25.5 ms -> 16.5 ms, strided on 4x4x128 3.9 ms -> 3.4 ms.
SINGLE_POSITIONS = 4
# From this many output features on, the kernel's gradient on larger maps is matrix products (`_conv`).
# Measured there (5x5 on 28x28, batch 200): 16 -> 32 features 666 ms -> 193 ms, but 8 -> 4 16 ms -> 76 ms.
WIDE_FEATURES = 32


def live_taps(size: int, kernel: int, stride: int, padding: int) -> range:
    """Kernel taps that touch data at some output position; the others only ever multiply padding."""
    outputs = (size + 2 * padding - kernel) // stride + 1
    last = (outputs - 1) * stride
    return range(max(0, padding - last), min(kernel, size + padding))


def _windows(x: Array, *, kernel: int, stride: int, padding: int, fill: float = 0) -> list[Array]:
    """What each of the kernel's taps sees at every output position: of x [*b h w c] one [*b oh ow c] for each tap."""
    height, width = ((size + 2 * padding - kernel) // stride + 1 for size in x.shape[-3:-1])
    around = [(0, 0)] * (x.ndim - 3) + [(padding, padding), (padding, padding), (0, 0)]
    x = jnp.pad(x, around, constant_values=fill)
    last = stride * (height - 1) + 1, stride * (width - 1) + 1
    return [x[..., i : i + last[0] : stride, j : j + last[1] : stride, :] for i in range(kernel) for j in range(kernel)]


def _position_products(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    """A convolution as one matrix product for each output position, over the taps that meet data there."""
    size, _, _, features = kernel.shape

    def taps(n: int) -> list[tuple[slice, slice]]:
        """For each output position along an axis of n: where it reads, and with which taps."""
        starts = range(-padding, n + padding - size + 1, stride)
        reads = [slice(max(0, start), min(n, start + size)) for start in starts]
        return [(read, slice(read.start - start, read.stop - start)) for read, start in zip(reads, starts)]

    rows, columns = (taps(n) for n in x.shape[-3:-1])
    products = [
        x[..., across, along, :].reshape(*x.shape[:-3], -1) @ kernel[down, right].reshape(-1, features)
        for across, down in rows
        for along, right in columns
    ]
    return jnp.stack(products, axis=-2).reshape(*x.shape[:-3], len(rows), len(columns), features)


def _as_patches(x: Array, kernel: Array, stride: int, positions: int) -> bool:
    """Whether a convolution is written as one product over patches."""
    if positions <= PATCH_POSITIONS:
        return True
    one_image = is_for_this_cpu() and math.prod(x.shape[:-3]) == 1
    return one_image and stride > 1 and positions <= kernel.shape[3] and kernel.size >= LARGE_KERNEL


def _library_conv(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), [(padding, padding)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _kernel_gradient(x: Array, cotangent: Array, *, size: int, stride: int, padding: int) -> Array:
    """The gradient [k k c o] of `_library_conv`'s kernel: one matrix product over all output positions for each tap."""
    features = cotangent.reshape(-1, cotangent.shape[-1])
    windows = _windows(x, kernel=size, stride=stride, padding=padding)
    products = jnp.stack([w.reshape(-1, w.shape[-1]).T @ features for w in windows])
    return products.reshape(size, size, *products.shape[1:])


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    """lax's convolution, with a gradient of its kernel that is ours on a CPU.

    XLA makes that a convolution with a kernel as large as the map, up to 7 times slower (3x3 on 32x32x128, batch 48:
    1,782 ms -> 248 ms) and less exact in float32.
    """
    return _library_conv(x, kernel, stride, padding)


def _conv_forward(x, kernel, stride, padding):
    return _library_conv(x, kernel, stride, padding), (x, kernel)


def _conv_backward(stride, padding, saved, cotangent):
    x, kernel = saved

    def library(x, cotangent):
        return jax.vjp(lambda kernel: _library_conv(x, kernel, stride, padding), kernel)[1](cotangent)[0]

    ours = functools.partial(_kernel_gradient, size=kernel.shape[0], stride=stride, padding=padding)
    (input_gradient,) = jax.vjp(lambda x: _library_conv(x, kernel, stride, padding), x)[1](cotangent)
    return input_gradient, lax.platform_dependent(x, cotangent, cpu=ours, default=library)


_conv.defvjp(_conv_forward, _conv_backward)


def conv2d(
    x: Float[Array, "*b h w c"], kernel: Float[Array, "k k c o"], *, stride: int = 1, padding: int = 0
) -> Float[Array, "*b oh ow o"]:
    """Cross-correlation with a kernel, padding < k zeros on all four sides, as torch's Conv2d.

    Several leading axes are one batch, for the kernel's gradient too: vmapped, that would be a convolution for each.
    A 1x1 kernel is a matrix product over pixels; a small output, and in detectors' programs on a CPU what a large
    kernel strides over, is one matrix product over patches, a tiny one a product for each position, without the taps
    that only meet padding; anything else is lax's, in those programs in bands (`bands.py`).
    """
    size, _, _, features = kernel.shape
    if size == 1 and padding == 0:
        return x[..., ::stride, ::stride, :] @ kernel[0, 0]
    height, width = ((n + 2 * padding - size) // stride + 1 for n in x.shape[-3:-1])
    if height * width <= SINGLE_POSITIONS:
        return _position_products(x, kernel, stride, padding)
    if _as_patches(x, kernel, stride, height * width):
        patches = jnp.concatenate(_windows(x, kernel=size, stride=stride, padding=padding), axis=-1)
        return patches @ kernel.reshape(-1, features)
    batch = x.reshape(-1, *x.shape[-3:])
    if (bands := bands_of(batch, kernel, stride=stride, padding=padding)) > 1:
        y = conv_in_bands(batch, kernel, stride=stride, padding=padding, bands=bands)
    else:
        y = (_conv if features >= WIDE_FEATURES else _library_conv)(batch, kernel, stride, padding)
    return y.reshape(*x.shape[:-3], *y.shape[1:])


def conv2d_transpose_2x2(x: Float[Array, "*b h w c"], kernel: Float[Array, "2 2 c o"]) -> Float[Array, "*b 2*h 2*w o"]:
    """Doubles the resolution: y[2i+a, 2j+d, o] = sum_c x[i, j, c] kernel[a, d, c, o], torch's ConvTranspose2d(2, 2).

    The windows do not overlap, so it is matrix products and a rearrangement.
    """
    *lead, h, w, c = x.shape
    features, positions = kernel.shape[-1], math.prod(x.shape[:-1])
    if isinstance(positions, int) and positions <= features:  # an exported program takes any number of images
        # x four times is no larger than the kernel, which then is not copied.
        copies = jnp.broadcast_to(x.reshape(positions, c), (4, positions, c))
        y = jnp.moveaxis(copies @ kernel.reshape(4, c, features), 0, -2)
    else:
        # Four products rather than one: the kernel is never rearranged.
        y = jnp.stack([x @ kernel[a, d] for a in (0, 1) for d in (0, 1)], axis=-2)
    y = jnp.moveaxis(y.reshape(*lead, h, w, 2, 2, features), -3, -4)
    return y.reshape(*lead, 2 * h, 2 * w, features)


def max_pool_3x3(x: Float[Array, "*b h w c"]) -> Float[Array, "*b oh ow c"]:
    """The largest of 3x3 pixels at every second one, NaN if one of them is: torch's MaxPool2d(3, stride=2, padding=1).

    Eight comparisons, which XLA fuses and divides among a CPU's cores: 2.0 -> 0.8 ms for 128x128x64, a ReLU included
    (two cores). For networks that are not trained: equal pixels share the gradient, which torch gives to the first.
    """
    return functools.reduce(jnp.maximum, _windows(x, kernel=3, stride=2, padding=1, fill=-jnp.inf))


def upsample_2x(x: Float[Array, "b h w c"]) -> Float[Array, "b 2*h 2*w c"]:
    """Doubles the resolution by repeating pixels."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def kaiming_normal_fan_out(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    """N(0, 2 / (k k o)) for a kernel [k k c o]: the published initialisation of every Conv2d."""
    return math.sqrt(2 / (shape[0] * shape[1] * shape[3])) * jax.random.normal(key, shape, dtype)


def torch_uniform(key: Array, shape: tuple[int, ...], dtype=jnp.float32, *, fan_in: int | None = None) -> Array:
    """U(-b, b), b = 1/sqrt(fan in): torch's default for weights and biases of Conv2d and Linear.

    fan_in: None for that of a kernel [k k c o] or [c o]; a bias has its kernel's.
    """
    bound = 1 / math.sqrt(fan_in or math.prod(shape[:-1]))
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def torch_conv_transpose_uniform(key: Array, shape: tuple[int, ...], dtype=jnp.float32) -> Array:
    """U(-b, b), b = 1/sqrt(k k o), for [k k c o]: torch's default for ConvTranspose2d, kept by the published code."""
    bound = 1 / math.sqrt(shape[0] * shape[1] * shape[3])
    return jax.random.uniform(key, shape, dtype, -bound, bound)


class Conv(nn.Module):
    """`conv2d` with its own kernel and no bias; padding is (kernel_size - 1) / 2 as everywhere in these networks."""

    features: int
    kernel_size: int
    stride: int = 1

    @property
    def padding(self) -> int:
        """Zeros on each side, in pixels."""
        return (self.kernel_size - 1) // 2

    @nn.compact
    def __call__(self, x: Float[Array, "*b h w c"]) -> Float[Array, "*b oh ow {self.features}"]:
        """The convolution of x; oh is h / stride."""
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", kaiming_normal_fan_out, shape)
        return conv2d(x, kernel.astype(x.dtype), stride=self.stride, padding=self.padding)


class ConvTranspose2x2(nn.Module):
    """`conv2d_transpose_2x2` with its own kernel and no bias."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "*b h w c"]) -> Float[Array, "*b 2*h 2*w {self.features}"]:
        """The convolution of x."""
        kernel = self.param("kernel", torch_conv_transpose_uniform, (2, 2, x.shape[-1], self.features))
        return conv2d_transpose_2x2(x, kernel.astype(x.dtype))
