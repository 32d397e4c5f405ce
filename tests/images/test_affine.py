"""Geometric operations against the installed Pillow, value for value."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import jit
from PIL import Image

from gnl_jax.images import affine

BILINEAR = Image.Resampling.BILINEAR


def transform(image, *matrix):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, BILINEAR)


PILLOW = {
    "rotate": lambda image, degrees: image.rotate(degrees, BILINEAR),
    "shear_x": lambda image, slope: transform(image, 1, slope, 0, 0, 1, 0),
    "shear_y": lambda image, slope: transform(image, 1, 0, 0, slope, 1, 0),
    "translate_x": lambda image, pixels: transform(image, 1, 0, pixels, 0, 1, 0),
    "translate_y": lambda image, pixels: transform(image, 1, 0, 0, 0, 1, pixels),
}
ONE = jax.jit(affine.move)
MANY = jax.jit(jax.vmap(affine.move, in_axes=(None, 0, 0)))  # one image, many amounts
ANGLES = [*range(-30, 31), 45, 89, 90, 180, 269, 270, 359, 360, -400]
SLOPES = [*np.random.default_rng(0).uniform(-0.3, 0.3, 16), 0, 0.09, -0.09, 0.25, -0.5, 1, 1 / 3]


def images(height, width):
    """Random, white, dark and flat, a chessboard, a ramp."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices((height, width))[..., None]
    chessboard = np.where((rows + columns) % 2, [255, 0, 1], [0, 255, 254])
    ramp = np.broadcast_to(255 * columns // max(width - 1, 1), (height, width, 3))
    flat = [np.full((height, width, 3), value) for value in (255, 1)]
    return np.stack([rng.integers(0, 256, (height, width, 3)), chessboard, ramp, *flat]).astype(np.uint8)


def call_pillow(image, name, amount):
    amount = float(amount) if name.startswith("shear") else int(amount)
    return np.asarray(PILLOW[name](Image.fromarray(image), amount))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (32, 32), (37, 53), (60, 41)], ids=str)
def test_equals_pillow(size):
    """Of (37, 53) the central pixel is turned onto itself: one rounding too few shows there."""
    pixels = [*range(-max(size), max(size) + 1, 3), 1, -1, *size]
    cases = [("rotate", angle) for angle in ANGLES]
    cases += [(name, slope) for name in ("shear_x", "shear_y") for slope in SLOPES]
    cases += [(name, pixel) for name in ("translate_x", "translate_y") for pixel in pixels]
    which = np.array([affine.OPERATIONS.index(name) for name, _ in cases], np.int32)
    amounts = np.array([amount for _, amount in cases], np.float32)
    for image in images(*size):
        together = np.asarray(MANY(image, which, amounts))
        for got, (name, _), amount in zip(together, cases, amounts):
            expected = call_pillow(image, name, amount)
            np.testing.assert_array_equal(got, expected, err_msg=f"{name} by {amount}, shape {image.shape}")


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    bounds=st.tuples(st.integers(0, 255), st.integers(0, 255)).map(sorted),
    degrees=st.integers(-30, 30),
    slope=st.floats(-0.25, 0.25, width=32),
    pixels=st.integers(-50, 50),
)
def test_equals_pillow_on_any_image(seed, bounds, degrees, slope, pixels):
    """One call at a time: not vectorised, the compiler sees other loops."""
    image = np.random.default_rng(seed).integers(*bounds, (38, 50, 3), dtype=np.uint8, endpoint=True)
    for which, (name, amount) in enumerate(zip(affine.OPERATIONS, (degrees, slope, slope, pixels, pixels))):
        got = np.asarray(ONE(image, which, amount))
        np.testing.assert_array_equal(got, call_pillow(image, name, amount), err_msg=name)


def test_named_operations():
    image, amounts = images(32, 32)[0], np.float32([-7, 0.07, -0.07, 5, -5])

    def every(image):
        return [getattr(affine, name)(image, amount) for name, amount in zip(affine.OPERATIONS, amounts)]

    for name, amount, moved in zip(affine.OPERATIONS, amounts, jit(every)(image)):
        assert moved.dtype == np.uint8
        np.testing.assert_array_equal(np.asarray(moved), call_pillow(image, name, amount), err_msg=name)
        assert np.any(np.asarray(moved) != image)


def test_program_around_it_keeps_its_types():
    def both(image, factor):
        return affine.rotate(image, 5), factor * 2.0

    moved, doubled = jax.eval_shape(both, np.zeros((8, 8, 3), np.uint8), np.float32(1))
    assert (moved.dtype, doubled.dtype) == (np.uint8, np.float32)
    image = images(32, 32)[0]
    with jax.enable_x64(True):
        wide = np.asarray(ONE(image, 0, 5.0))
    np.testing.assert_array_equal(wide, call_pillow(image, "rotate", 5))
