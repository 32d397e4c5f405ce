"""Views: normalisation, grey, and how they are put together."""

from functools import partial

import jax
import numpy as np
import pytest

from gnl_jax.images.augmix import PACS_OPERATIONS, AugMixOptions, augmix
from gnl_jax.images.views import grey, make_views, normalise

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_normalise(dtype):
    got = normalise(IMAGES.astype(dtype), "imagenet")
    assert got.dtype == np.float32
    np.testing.assert_allclose(np.asarray(got), (IMAGES / 255 - MEAN) / STD, atol=2e-6)
    np.testing.assert_allclose(np.asarray(normalise(IMAGES.astype(dtype), "none")), IMAGES / 255, atol=1e-7)


def test_normalise_agrees_on_one_image_and_a_batch():
    np.testing.assert_array_equal(normalise(IMAGES[0], "imagenet"), normalise(IMAGES, "imagenet")[0])


def test_grey_weighs_the_normalised_channels():
    normalised = (IMAGES / 255 - MEAN) / STD
    expected = np.stack([normalised @ [0.2989, 0.587, 0.114]] * 3, axis=-1)
    np.testing.assert_allclose(np.asarray(grey(normalise(IMAGES, "imagenet"))), expected, atol=1e-6)


def test_grey_of_an_unnormalised_grey_image_is_nearly_the_identity():
    digits = normalise(np.repeat(IMAGES[..., :1], 3, axis=-1), "none")
    np.testing.assert_allclose(np.asarray(grey(digits)), 0.9999 * np.asarray(digits), atol=1e-6)


@pytest.mark.slow
def test_views_in_order():
    key, options = jax.random.key(1), AugMixOptions(operations=PACS_OPERATIONS, severity=3)
    views = ("grey", "augmix", "clean", "augmix")
    got = jax.jit(partial(make_views, views=views, normalise="imagenet", augmix=options))(key, IMAGES)
    got = np.asarray(got)
    assert got.shape == (4, *IMAGES.shape)
    clean = normalise(IMAGES, "imagenet")
    np.testing.assert_allclose(got[0], np.asarray(grey(clean)), atol=1e-6)
    np.testing.assert_allclose(got[2], np.asarray(clean), atol=1e-6)
    draw = jax.jit(partial(augmix, **options._asdict()))
    for position in (1, 3):
        drawn = draw(jax.random.fold_in(key, position), IMAGES)
        np.testing.assert_allclose(got[position], np.asarray(normalise(drawn, "imagenet")), atol=1e-5)
    assert np.abs(got[1] - got[3]).max() > 0.1  # independent draws


@pytest.mark.slow
def test_published_views_are_the_default():
    key = jax.random.key(0)
    options = {"views": ("clean", "augmix", "grey"), "normalise": "imagenet", "augmix": AugMixOptions()}
    default = jax.jit(make_views)(key, IMAGES)
    explicit = jax.jit(partial(make_views, **options))(key, IMAGES)
    np.testing.assert_array_equal(np.asarray(default), np.asarray(explicit))
    assert default.dtype == np.float32


def test_views_depend_on_the_key_and_nothing_else():
    make = jax.jit(lambda key: make_views(key, IMAGES, views=("augmix",)))
    first, again, other = make(jax.random.key(0)), make(jax.random.key(0)), make(jax.random.key(1))
    np.testing.assert_array_equal(np.asarray(first), np.asarray(again))
    assert np.any(np.asarray(first) != np.asarray(other))


def test_errors_list_what_is_valid():
    with pytest.raises(ValueError, match=r"views: expected one of \['clean', 'augmix', 'grey'\], got 'gray'"):
        make_views(jax.random.key(0), IMAGES, views=("clean", "gray"))
    with pytest.raises(ValueError, match=r"normalise: expected one of \['imagenet', 'none'\], got 'unit'"):
        normalise(IMAGES, "unit")


@pytest.mark.slow
def test_some_of_the_views_are_as_among_all():
    make = partial(make_views, jax.random.key(3), IMAGES, views=("augmix", "clean", "augmix", "grey"))
    np.testing.assert_allclose(make(positions=(2, 1)), make()[np.array([2, 1])], atol=1e-6)
