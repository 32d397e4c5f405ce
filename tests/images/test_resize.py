"""Resizing against the filters written out in NumPy's integers, and against Pillow."""

import numpy as np
import pytest
import signatures
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gnl_jax.images.resize import Geometry, centre, resize, resize_nearest


def triangle(x):
    return np.maximum(0, 1 - np.abs(x))


def lanczos(x):
    return np.where((x >= -3) & (x < 3), np.sinc(x) * np.sinc(x / 3), 0)


KERNELS = {"bilinear": (triangle, 1), "lanczos": (lanczos, 3)}


def along_first_axis(x, size, kind="bilinear"):
    """Pillow's filter in 22-bit fixed point, stretched where the image shrinks."""
    length, (kernel, radius) = x.shape[0], KERNELS[kind]
    if size == length:
        return x
    scale = length / size
    stretch = max(scale, 1.0)
    support = radius * stretch
    weights = np.zeros((size, length))
    for i in range(size):
        middle = (i + 0.5) * scale
        taps = np.arange(max(int(middle - support + 0.5), 0), min(int(middle + support + 0.5), length))
        weight = kernel((taps - middle + 0.5) / stretch)
        weights[i, taps] = weight / weight.sum()
    fixed = np.trunc(weights * 2**22 + np.copysign(0.5, weights)).astype(np.int64)
    total = np.tensordot(fixed, x.astype(np.int64), axes=1)
    return np.clip((total + 2**21) >> 22, 0, 255).astype(np.uint8)


def reference(image, size, kind="bilinear"):
    wide = along_first_axis(image.swapaxes(0, 1), size, kind).swapaxes(0, 1)
    return along_first_axis(wide, size, kind)


@settings(max_examples=60, deadline=None)
@given(h=st.integers(1, 90), w=st.integers(1, 90), size=st.sampled_from([1, 7, 32, 64]), seed=st.integers(0, 999))
def test_equals_two_passes_width_first(h, w, size, seed):
    image = np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize(image, size), reference(image, size))
    np.testing.assert_array_equal(resize(image, Geometry(size, 0, "lanczos")), reference(image, size, "lanczos"))


@pytest.mark.parametrize("shape", [(300, 40), (40, 300), (513, 129), (700, 700), (32, 31), (256, 256)])
def test_tall_wide_and_unchanged(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize(image, 256), reference(image, 256))


def test_the_order_of_the_passes_matters():
    """Otherwise the tests above could not tell height-first from width-first."""
    image = np.random.default_rng(0).integers(0, 256, (300, 40, 3), dtype=np.uint8)
    height_first = reference(image.swapaxes(0, 1), 64).swapaxes(0, 1)
    assert np.any(resize(image, 64) != height_first)


def cropped(image, size):
    """torchvision's CenterCrop on a Pillow image."""
    top, left = (round((n - size) / 2.0) for n in (image.height, image.width))
    return np.asarray(image.crop((left, top, left + size, top + size)))


@pytest.mark.parametrize("kind", ["bilinear", "lanczos"])
@pytest.mark.parametrize("size", [30, 31, 32, 33, 34, 35, 40])
def test_centre_of_a_resized_image(kind, size):
    """The published pipelines' Resize and CenterCrop; Pillow's one call gives the same as two for square images."""
    image = np.random.default_rng(size).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    filters = {"bilinear": Image.Resampling.BILINEAR, "lanczos": Image.Resampling.LANCZOS}
    got = resize(image, Geometry(size, 40, kind))
    np.testing.assert_array_equal(got, cropped(Image.fromarray(image).resize((40, 40), filters[kind]), size))
    assert got.flags.c_contiguous


def test_odd_margins_are_rounded_half_to_even():
    x = np.arange(10)[:, None] + np.zeros((1, 10), int)
    assert [int(centre(x, size)[0, 0]) for size in (10, 9, 8, 7, 6, 5, 4, 3)] == [0, 0, 1, 2, 2, 2, 3, 4]


@pytest.mark.parametrize("size", [31, 32, 37, 40])
def test_a_mask_is_cut_as_its_image(size):
    """A mask of 20x20 doubles exactly, so that Pillow's nearest neighbour has no ties to break."""
    mask = np.random.default_rng(size).integers(0, 2, (20, 20)).astype(bool)
    doubled = Image.fromarray(mask).resize((40, 40), Image.Resampling.NEAREST)
    np.testing.assert_array_equal(resize_nearest(mask, Geometry(size, 40)), cropped(doubled, size))


def test_a_plain_size_is_a_geometry():
    assert Geometry.of(9) == Geometry(9, 0, "bilinear")
    assert Geometry.of(Geometry(9, 12, "lanczos")) == Geometry(9, 12, "lanczos")


@pytest.mark.parametrize("bad", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3))])
@signatures.unchecked()
def test_errors(bad):
    with pytest.raises(ValueError, match=r"image: expected uint8 \[h w 3\]"):
        resize(bad, 8)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((0,), "size: got 0, expected 1 or more"),
        ((8, 7), "resize: got 7, expected 0 or at least the size 8"),
        ((8, -1), "resize: got -1"),
        ((8, 8, "nearest"), "filter: got 'nearest', expected one of bilinear, lanczos"),
    ],
)
def test_geometries_without_a_meaning(fields, message):
    with pytest.raises(ValueError, match=message):
        Geometry(*fields)
