"""Convolutions against lax's, initialisations against their definition."""

import functools
import itertools
import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

import gnl_jax.nn.layers
from gnl_jax.nn.layers import (
    WIDE_FEATURES,
    conv2d,
    conv2d_transpose_2x2,
    kaiming_normal_fan_out,
    live_taps,
    max_pool_3x3,
    torch_conv_transpose_uniform,
)
from gnl_jax.ops.cpu_program import for_this_cpu

RNG = np.random.default_rng(0)


def plain_conv2d(x, kernel, *, stride=1, padding=0):
    """The same convolution by lax alone."""
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (stride, stride), [(padding, padding)] * 2, dimension_numbers=numbers)


def with_gradients(function, x, kernel, cotangent, **geometry):
    """The value and its gradients for x and kernel."""
    y, pullback = jax.vjp(lambda x, kernel: function(x, kernel, **geometry), x, kernel)
    return y, *pullback(cotangent)


def check_conv2d(cases, *, channels=2, features=3):
    """conv2d equals plain_conv2d, gradients included, for every (height, width, kernel, stride, padding)."""
    operands = []
    for height, width, size, stride, padding in cases:
        out = [(n + 2 * padding - size) // stride + 1 for n in (height, width)]
        shapes = (2, height, width, channels), (size, size, channels, features), (2, *out, features)
        operands.append([RNG.standard_normal(shape) for shape in shapes])

    def run(function):
        def values(operands):
            return [
                with_gradients(function, *arrays, stride=stride, padding=padding)
                for arrays, (*_, stride, padding) in zip(operands, cases, strict=True)
            ]

        return values

    with jax.enable_x64(True):
        got, expected = jax.jit(lambda operands: (run(conv2d)(operands), run(plain_conv2d)(operands)))(operands)
    for case, *triples in zip(cases, got, expected, strict=True):
        for name, a, b in zip(("value", "gradient of x", "gradient of kernel"), *triples, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-11, err_msg=f"{name}, {case}")


def geometries(arch, size):
    """Every (height, width, kernel, stride, padding) of the convolutions in teacher and student."""
    from gnl_jax.nn.decoder import Student
    from gnl_jax.nn.resnet import ResNet

    seen = set()

    def record(x, kernel, *, stride=1, padding=0):
        seen.add((*x.shape[1:3], kernel.shape[0], stride, padding))
        return plain_conv2d(x, kernel, stride=stride, padding=padding)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gnl_jax.nn.layers, "conv2d", record)

        def init(key):
            stages, _ = ResNet(arch).init_with_output(key, jnp.zeros((1, size, size, 3)))
            return Student(arch).init(key, stages)

        jax.eval_shape(init, jax.random.key(0))
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("size", [32, 64])
def test_conv2d_equals_lax_wherever_the_networks_use_it(size):
    cases = sorted(geometries("resnet18", size) | geometries("resnet50", size))
    assert len(cases) >= 15
    check_conv2d(cases)


@pytest.mark.slow
@pytest.mark.parametrize("features", [3, WIDE_FEATURES])
def test_conv2d_equals_lax_on_maps_as_large_as_at_256_pixels(features):
    cases = [(64, 64, 3, 1, 1), (64, 64, 3, 2, 1), (64, 64, 1, 2, 0), (16, 16, 3, 2, 1), (256, 256, 7, 2, 3)]
    check_conv2d(cases, features=features)


def test_a_kernel_gradient_on_large_maps_is_matrix_products():
    x = jnp.ones((2, 16, 16, 8))

    def gradient_of_kernel(function, features=WIDE_FEATURES):
        kernel = jnp.ones((3, 3, 8, features))
        gradient = jax.grad(lambda kernel: function(x, kernel, padding=1).sum())
        return jax.jit(gradient).lower(kernel).as_text()

    assert "stablehlo.convolution" in gradient_of_kernel(plain_conv2d)
    assert "stablehlo.convolution" not in gradient_of_kernel(conv2d)
    assert "stablehlo.dot_general" in gradient_of_kernel(conv2d)
    assert "stablehlo.convolution" in gradient_of_kernel(conv2d, WIDE_FEATURES - 1), "narrow ones are faster in lax"


@pytest.mark.slow
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("features", [3, WIDE_FEATURES])
@pytest.mark.parametrize("size", [1, 3])
def test_leading_axes_are_one_batch(size, features, stride):
    """Of maps of every kind: a product for each position, one of patches, a library's convolution."""
    for side in (3, 6, 20):
        x = RNG.standard_normal((2, 3, side, side, 4))
        kernel = RNG.standard_normal((size, size, 4, features))
        geometry = {"stride": stride, "padding": size // 2}
        with jax.enable_x64(True):
            shape = jax.eval_shape(lambda x, k, g=geometry: conv2d(x, k, **g), x, kernel).shape
            cotangent = RNG.standard_normal(shape)
            got = with_gradients(conv2d, x, kernel, cotangent, **geometry)
            flat = (a.reshape(-1, *a.shape[2:]) for a in (x, cotangent))
            x, cotangent = flat
            expected = with_gradients(plain_conv2d, x, kernel, cotangent, **geometry)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_allclose(a.reshape(b.shape), b, rtol=1e-12, atol=1e-11)


def test_a_kernel_gradient_over_views_is_one_convolution_on_a_gpu():
    """Vmapped it would be one for each view, which libraries compute many times slower."""

    def gradient(kernel, x):
        return jax.grad(lambda kernel: jnp.sum(jnp.tanh(conv2d(x, kernel, padding=1))))(kernel)

    x, kernel = jnp.ones((3, 2, 16, 16, 8)), jnp.ones((3, 3, 8, WIDE_FEATURES))
    text = jax.jit(gradient).trace(kernel, x).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("stablehlo.convolution") == 2  # forward, and the kernel's gradient
    assert re.findall(r"_group_count = (\d+)", text) == ["1"] * 4


def test_gradients_of_gradients_on_large_maps():
    """As a penalty on a gradient needs them (WGAN-GP)."""

    def penalty(function):
        def score(x, kernel):
            return jnp.sum(jnp.tanh(function(x, kernel, stride=1, padding=1)))

        def squared(x, kernel):
            return sum(jnp.sum(g**2) for g in jax.grad(score, argnums=(0, 1))(x, kernel))

        return jax.jit(jax.grad(squared, argnums=(0, 1)))

    with jax.enable_x64(True):
        x, kernel = (jnp.asarray(RNG.standard_normal(shape)) for shape in ((2, 12, 12, 3), (4, 4, 3, WIDE_FEATURES)))
        for a, b in zip(penalty(conv2d)(x, kernel), penalty(plain_conv2d)(x, kernel), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


@st.composite
def small_geometry(draw):
    size, stride = draw(st.sampled_from([1, 2, 3, 5])), draw(st.integers(1, 3))
    padding = draw(st.integers(0, size - 1))
    sides = st.integers(max(1, size - 2 * padding), 12)
    return draw(sides), draw(sides), size, stride, padding


@pytest.mark.slow
# The same examples in every run: of some geometry, not found again, XLA has aborted while it compiled.
@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.lists(small_geometry(), min_size=1, max_size=4), st.sampled_from([3, WIDE_FEATURES]))
def test_conv2d_equals_lax_whatever_the_geometry(cases, features):
    check_conv2d(cases, features=features)


def test_live_taps_are_those_that_meet_data():
    for size, kernel, stride, padding in itertools.product(range(1, 9), range(1, 8), range(1, 4), range(4)):
        outputs = (size + 2 * padding - kernel) // stride + 1
        if outputs < 1 or padding > kernel // 2:
            continue
        live = [k for k in range(kernel) if any(0 <= o * stride + k - padding < size for o in range(outputs))]
        assert list(live_taps(size, kernel, stride, padding)) == live, (size, kernel, stride, padding)


def test_tiny_maps_are_products_over_data_alone():
    """3x3 on 2x2: each of the four positions meets data with four taps of nine, and nothing is padded."""
    x, kernel = jnp.ones((5, 2, 2, 8)), jnp.ones((3, 3, 8, 6))
    lowered = jax.jit(functools.partial(conv2d, padding=1)).lower(x, kernel)
    assert lowered.as_text().count("stablehlo.dot_general") == 4
    assert "stablehlo.pad" not in lowered.as_text()
    assert lowered.cost_analysis()["flops"] == pytest.approx(2 * 5 * 4 * 4 * 8 * 6, rel=0.01)


@pytest.mark.parametrize("features", [7, 200])
def test_transposed_convolution_of_leading_axes(features):
    x, kernel = RNG.standard_normal((2, 3, 4, 5, 6)), RNG.standard_normal((2, 2, 6, features))
    with jax.enable_x64(True):
        expected = [conv2d_transpose_2x2(row, kernel) for row in jnp.asarray(x)]
        np.testing.assert_allclose(conv2d_transpose_2x2(x, kernel), expected, atol=1e-12)


@pytest.mark.parametrize("features", [6, 24, 30])  # fewer than the 24 positions, as many, and more
def test_conv2d_transpose_by_its_definition(features):
    x, kernel = RNG.standard_normal((2, 3, 4, 5)), RNG.standard_normal((2, 2, 5, features))
    expected = np.empty((2, 6, 8, features))
    for i, j, a, d in itertools.product(range(3), range(4), range(2), range(2)):
        expected[:, 2 * i + a, 2 * j + d] = x[:, i, j] @ kernel[a, d]
    with jax.enable_x64(True):
        np.testing.assert_allclose(conv2d_transpose_2x2(x, kernel), expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 8, 10, 3), (1, 7, 9, 2), (1, 1, 2, 1)])
def test_max_pool_is_that_of_a_reduced_window(shape):
    x = RNG.standard_normal(shape, np.float32)
    x.flat[0], x.flat[1] = np.nan, -np.inf
    window = functools.partial(nn.max_pool, window_shape=(3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
    for dtype in (jnp.float32, jnp.bfloat16):
        found, expected = (jax.jit(f)(x.astype(dtype)) for f in (max_pool_3x3, window))
        assert found.dtype == expected.dtype == dtype
        np.testing.assert_array_equal(found.astype(np.float32), expected.astype(np.float32))


def test_kaiming_normal_fan_out():
    kernel = kaiming_normal_fan_out(jax.random.key(0), (3, 3, 64, 256))
    expected = np.sqrt(2 / (9 * 256))
    assert abs(kernel.mean()) < 5 * expected / np.sqrt(kernel.size)
    np.testing.assert_allclose(kernel.std(), expected, rtol=5 / np.sqrt(2 * kernel.size))


def test_torch_conv_transpose_uniform():
    kernel = torch_conv_transpose_uniform(jax.random.key(0), (2, 2, 256, 64))
    bound = 1 / np.sqrt(4 * 64)
    assert 0.999 * bound < kernel.max() <= bound
    assert -bound <= kernel.min() < -0.999 * bound
    np.testing.assert_allclose(kernel.std(), bound / np.sqrt(3), rtol=0.01)


def test_modules_pad_as_torch():
    """3x3 with stride 2 on an even side: lax's "SAME" would give another result."""
    x = RNG.standard_normal((1, 8, 8, 2)).astype(np.float32)
    y, variables = gnl_jax.nn.layers.Conv(3, 3, stride=2).init_with_output(jax.random.key(0), x)
    same = nn.Conv(3, (3, 3), strides=2, use_bias=False, padding="SAME").apply(variables, x)
    explicit = nn.Conv(3, (3, 3), strides=2, use_bias=False, padding=1).apply(variables, x)
    np.testing.assert_allclose(y, explicit, atol=1e-5)
    assert np.abs(y - same).max() > 0.1


@pytest.mark.parametrize(
    ("images", "stride", "features", "of_patches"),
    [(1, 2, 96, True), (2, 2, 96, False), (1, 1, 96, False), (1, 2, 80, False)],
)
def test_one_images_strided_convolution_with_a_large_kernel_is_a_product(
    images, stride, features, of_patches, monkeypatch
):
    x, kernel = (RNG.standard_normal(shape, np.float32) for shape in ((images, 18, 18, 4), (3, 3, 4, features)))
    monkeypatch.setattr(gnl_jax.nn.layers, "LARGE_KERNEL", kernel.size)

    def lowered():
        return jax.jit(lambda x, kernel: conv2d(x, kernel, stride=stride, padding=1)).lower(x, kernel)

    plain = lowered()
    with for_this_cpu():
        program = lowered()
    assert "convolution" in plain.as_text()
    assert ("convolution" not in program.as_text()) == of_patches
    expected, found = (np.asarray(p.compile()(x, kernel)) for p in (plain, program))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    monkeypatch.setattr(gnl_jax.nn.layers, "LARGE_KERNEL", kernel.size + 1)
    with for_this_cpu():
        assert "convolution" in lowered().as_text()
