"""Global contrast normalisation against NumPy in float64 and Pillow's conversion to grey."""

import numpy as np
import pytest
from PIL import Image

import gnl_jax.images.contrast_normalisation
from gnl_jax.images.contrast_normalisation import chunks, contrast, contrast_normalise, contrast_range

IMAGES = np.random.default_rng(0).integers(0, 256, (11, 6, 6, 3), dtype=np.uint8)
IMAGES[10, :3, :3] = 0  # the last image holds the extremes
IMAGES[10, 3:] = 10
IMAGES[10, 5, 5] = 255


class Source:
    """Images that can only be had by an array of positions."""

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, indices):
        assert isinstance(indices, np.ndarray)
        return IMAGES[indices]


def reference(images):
    """Published: x = image / 255; x -= mean(x); x /= mean(|x|)."""
    result = np.empty(images.shape)
    for i, image in enumerate(images / 255.0):
        centred = image - image.mean()
        result[i] = centred / np.abs(centred).mean()
    return result


def luma(images):
    return np.stack([np.asarray(Image.fromarray(image).convert("L"))[..., None] for image in images])


@pytest.mark.parametrize("scale", [1, 1 / 255])
def test_contrast_normalise(scale):
    got = contrast_normalise(np.float32(scale) * IMAGES.astype(np.float32))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, reference(IMAGES), atol=5e-6)


@pytest.mark.parametrize("value", [np.uint8(0), np.uint8(255), np.float32(0.1), np.float32(1e-30)])
def test_a_constant_image_becomes_zero_and_leaves_the_others_alone(value):
    got = contrast_normalise(np.stack([np.full((6, 6, 3), value), IMAGES[0].astype(value.dtype)]))
    np.testing.assert_array_equal(got[0], 0)
    np.testing.assert_allclose(got[1], reference(IMAGES[:1])[0], atol=5e-6)


def test_contrast_in_colour_and_in_grey():
    np.testing.assert_allclose(contrast(IMAGES, channels=3), reference(IMAGES), atol=5e-6)
    np.testing.assert_allclose(contrast(IMAGES, channels=1), reference(luma(IMAGES)), atol=5e-6)


@pytest.mark.parametrize("chunk", [1, 4, 256])
@pytest.mark.parametrize(("channels", "convert"), [(1, luma), (3, lambda images: images)])
def test_contrast_range_is_that_of_all_images_of_any_source(chunk, channels, convert, monkeypatch):
    monkeypatch.setattr(gnl_jax.images.contrast_normalisation, "_CHUNK", chunk)
    expected = reference(convert(IMAGES))
    assert expected.argmax() >= 10 * expected[0].size  # in the last image
    for images in (IMAGES, Source()):
        got = contrast_range(images, channels=channels)
        np.testing.assert_allclose(got, (expected.min(), expected.max()), rtol=2e-6)


def test_contrast_range_without_images_is_infinite():
    assert contrast_range(None, channels=1) == (np.inf, -np.inf)


@pytest.mark.parametrize(("chunk", "sizes"), [(4, (4, 4, 4)), (11, (11,)), (256, (11,))])
def test_chunks_hold_every_image_once_in_rows_that_are_valid(chunk, sizes, monkeypatch):
    monkeypatch.setattr(gnl_jax.images.contrast_normalisation, "_CHUNK", chunk)
    parts = list(chunks(Source()))
    assert tuple(len(images) for images, _ in parts) == sizes
    np.testing.assert_array_equal(np.concatenate([images[valid] for images, valid in parts]), IMAGES)
