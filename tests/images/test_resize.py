"""Resizing against the filter written out in NumPy's integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnl_jax.images.resize import resize


def along_first_axis(x, size):
    """Pillow's bilinear filter in 22-bit fixed point; its triangle is at least one input pixel wide."""
    length = x.shape[0]
    if size == length:
        return x
    scale = length / size
    support = max(scale, 1.0)
    weights = np.zeros((size, length))
    for i in range(size):
        centre = (i + 0.5) * scale
        taps = np.arange(max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), length))
        triangle = np.maximum(0, 1 - np.abs(taps - centre + 0.5) / support)
        weights[i, taps] = triangle / triangle.sum()
    fixed = (weights * 2**22 + 0.5).astype(np.int64)
    total = np.tensordot(fixed, x.astype(np.int64), axes=1)
    return np.clip((total + 2**21) >> 22, 0, 255).astype(np.uint8)


def reference(image, size):
    wide = along_first_axis(image.swapaxes(0, 1), size).swapaxes(0, 1)
    return along_first_axis(wide, size)


@settings(max_examples=60, deadline=None)
@given(h=st.integers(1, 90), w=st.integers(1, 90), size=st.sampled_from([1, 7, 32, 64]), seed=st.integers(0, 999))
def test_equals_two_passes_width_first(h, w, size, seed):
    image = np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize(image, size), reference(image, size))


@pytest.mark.parametrize("shape", [(300, 40), (40, 300), (513, 129), (700, 700), (32, 31), (256, 256)])
def test_tall_wide_and_unchanged(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize(image, 256), reference(image, 256))


def test_the_order_of_the_passes_matters():
    """Otherwise the tests above could not tell height-first from width-first."""
    image = np.random.default_rng(0).integers(0, 256, (300, 40, 3), dtype=np.uint8)
    height_first = reference(image.swapaxes(0, 1), 64).swapaxes(0, 1)
    assert np.any(resize(image, 64) != height_first)


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_errors(bad):
    with pytest.raises(ValueError, match=r"image: expected uint8 \[h w 3\]"):
        resize(bad, 8)
