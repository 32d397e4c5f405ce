"""Every operation against the installed Pillow, value for value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from gnl_jax.images import pillow

# name -> (ours, Pillow's, the levels to try)
FACTORS = [np.float32(f) for f in (0, 0.1, 1 / 3, 0.37, 0.64, 0.9999999, 1, 1.3, 1.9)]
OPERATIONS = {
    "autocontrast": (lambda x, _: pillow.autocontrast(x), lambda x, _: ImageOps.autocontrast(x), [0]),
    "equalize": (lambda x, _: pillow.equalize(x), lambda x, _: ImageOps.equalize(x), [0]),
    "posterize": (pillow.posterize, ImageOps.posterize, range(1, 9)),
    "solarize": (pillow.solarize, ImageOps.solarize, [*range(0, 257, 32), 1, 180, 181, 255]),
    "brightness": (pillow.brightness, lambda x, f: ImageEnhance.Brightness(x).enhance(float(f)), FACTORS),
    "contrast": (pillow.contrast, lambda x, f: ImageEnhance.Contrast(x).enhance(float(f)), FACTORS),
    "color": (pillow.color, lambda x, f: ImageEnhance.Color(x).enhance(float(f)), FACTORS),
    "sharpness": (pillow.sharpness, lambda x, f: ImageEnhance.Sharpness(x).enhance(float(f)), FACTORS),
}
JITTED = {name: jax.jit(ours) for name, (ours, _, _) in OPERATIONS.items()}


def images():
    """Random, narrow, two-valued, constant and tiny images."""
    rng = np.random.default_rng(0)
    uniform = rng.integers(0, 256, (32, 40, 3))
    dark = rng.gamma(2.0, 12.0, (32, 40, 3)).clip(0, 255)
    narrow = rng.integers(97, 99, (32, 40, 3))
    two = np.where(rng.random((32, 40, 1)) < 0.3, [3, 0, 200], [250, 255, 201])
    skewed = np.where(rng.random((32, 40, 3)) < 0.01, 255, rng.integers(0, 12, (32, 40, 3)))
    constant = [np.full((32, 40, 3), value) for value in (0, 77, 255)]
    tiny = [rng.integers(0, 256, (h, w, 3)) for h, w in ((1, 1), (2, 3), (3, 2), (3, 3))]
    return [image.astype(np.uint8) for image in (uniform, dark, narrow, two, skewed, *constant, *tiny)]


@pytest.mark.parametrize("name", OPERATIONS)
def test_equals_pillow(name):
    _, theirs, levels = OPERATIONS[name]
    for image in images():
        for level in levels:
            expected = np.asarray(theirs(Image.fromarray(image), level))
            got = np.asarray(JITTED[name](image, level))
            np.testing.assert_array_equal(got, expected, err_msg=f"level {level}, shape {image.shape}")


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    bounds=st.tuples(st.integers(0, 255), st.integers(0, 255)).map(sorted),
    factor=st.floats(0, 2, width=32),
    bits=st.integers(1, 8),
    threshold=st.integers(0, 256),
)
def test_equals_pillow_on_any_image(seed, bounds, factor, bits, threshold):
    image = np.random.default_rng(seed).integers(*bounds, (16, 24, 3), dtype=np.uint8, endpoint=True)
    for name, (_, theirs, _) in OPERATIONS.items():
        level = {"posterize": bits, "solarize": threshold}.get(name, factor)
        expected = np.asarray(theirs(Image.fromarray(image), level))
        np.testing.assert_array_equal(np.asarray(JITTED[name](image, level)), expected, err_msg=name)


@pytest.mark.slow
def test_vmapped_equals_one_by_one():
    batch = np.random.default_rng(1).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    for name, (ours, _, levels) in OPERATIONS.items():
        level = list(levels)[-1]
        together = jax.jit(jax.vmap(lambda x, ours=ours, level=level: ours(x, level)))(batch)
        single = [JITTED[name](image, level) for image in batch]
        np.testing.assert_array_equal(np.asarray(together), np.stack(single), err_msg=name)


def test_autocontrast_table_for_every_pair_of_extremes():
    """All 32,640 ranges lo < hi, all 256 entries, against `ImageOps.autocontrast`'s float64 arithmetic."""
    lo, hi = np.triu_indices(256, k=1)
    counts = np.zeros((len(lo), 256), np.int32)
    counts[np.arange(len(lo)), lo] = counts[np.arange(len(lo)), hi] = 1
    tables = jax.jit(jax.vmap(pillow.autocontrast_table))(counts.reshape(-1, 3, 256).swapaxes(1, 2))
    got = np.asarray(tables).swapaxes(1, 2).reshape(-1, 256)
    scale = 255.0 / (hi - lo)
    expected = np.clip(np.trunc(np.arange(256) * scale[:, None] + (-lo * scale)[:, None]), 0, 255)
    np.testing.assert_array_equal(got, expected)
    # The integer formula alone is wrong in 12,094 entries between lo and hi, so the comparison has teeth.
    i = np.arange(256)
    floor = np.clip((i - lo[:, None]) * 255 // (hi - lo)[:, None], 0, 255)
    inside = (i >= lo[:, None]) & (i <= hi[:, None])
    assert np.sum((floor != expected) & inside) == 12_094


@pytest.mark.parametrize("difference", [3, 5, 13, 100, 255])
def test_blend_rounds_twice_next_to_a_fraction(difference):
    """Factors a few units of the last place from k / d, where one fused rounding would be off by one."""
    fractions = (np.arange(1, difference) / difference).astype(np.float32)
    factors = (fractions.view(np.int32)[:, None] + np.arange(-2, 3)).astype(np.int32).view(np.float32).ravel()
    values = np.arange(256 - difference, dtype=np.uint8)
    low = np.stack([values] * 3, axis=-1)[None]
    blend = jax.jit(jax.vmap(pillow.blend, in_axes=(None, None, 0)))
    for start, end in ((low, low + np.uint8(difference)), (low + np.uint8(difference), low)):
        got = np.asarray(blend(start, end, factors))
        pair = Image.fromarray(start), Image.fromarray(end)
        expected = np.stack([np.asarray(Image.blend(*pair, float(factor))) for factor in factors])
        np.testing.assert_array_equal(got, expected)


def test_histogram_and_luma():
    for image in images():
        counts = np.stack([np.bincount(image[..., c].ravel(), minlength=256) for c in range(3)], axis=-1)
        np.testing.assert_array_equal(np.asarray(pillow.histogram(jnp.asarray(image))), counts)
        np.testing.assert_array_equal(np.asarray(pillow.luma(image)), np.asarray(Image.fromarray(image).convert("L")))
