"""Brightness, cast and contrast of whole images against NumPy."""

import jax.numpy as jnp
import numpy as np

from gnl_jax.ops.pixels import PixelBounds, PixelMoments, image_moments, match_moments, mean_moments, moment_bounds

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(0, 255, (3, 8, 8, 3)).astype(np.float32) * np.float32([[[[1, 0.5, 0.2]]]])
REFERENCE = PixelMoments(jnp.float32([90, 120, 60]), jnp.float32(25))
ONE = PixelBounds(REFERENCE, REFERENCE)


def test_moments_are_a_mean_of_each_channel_and_one_deviation():
    mean, sigma = image_moments(jnp.asarray(IMAGES))
    wide = IMAGES.astype(np.float64)
    np.testing.assert_allclose(mean, wide.mean((1, 2)), rtol=1e-5)
    np.testing.assert_allclose(sigma, [np.sqrt(image.reshape(-1, 3).var(0).mean()) for image in wide], rtol=1e-5)


def test_a_matched_image_has_the_references_moments_and_keeps_its_hues():
    found = match_moments(jnp.asarray(IMAGES), ONE)
    mean, sigma = image_moments(found)
    np.testing.assert_allclose(mean, [[90, 120, 60]] * 3, rtol=1e-4)
    np.testing.assert_allclose(sigma, 25, rtol=1e-4)
    for image, matched in zip(IMAGES, np.asarray(found)):
        apart, after = image - image.mean((0, 1)), matched - matched.mean((0, 1))
        factor = np.linalg.norm(after) / np.linalg.norm(apart)  # one for all channels
        np.testing.assert_allclose(after, factor * apart, atol=1e-2)


def test_light_cast_and_contrast_are_taken_away():
    other = IMAGES * np.float32(0.6) + np.float32([[[[20, 5, 40]]]])
    found, expected = (match_moments(jnp.asarray(x), ONE) for x in (other, IMAGES))
    np.testing.assert_allclose(found, expected, atol=1e-2)


def test_an_image_of_one_value_stays_one():
    flat = jnp.full((1, 4, 4, 3), 200.0)
    found = match_moments(flat, ONE)
    np.testing.assert_allclose(found, np.broadcast_to(np.float32([90, 120, 60]), (1, 4, 4, 3)), atol=1e-3)


def test_mean_moments_are_those_of_all_images():
    mean, sigma = image_moments(jnp.asarray(IMAGES))
    found = mean_moments(np.asarray(mean), np.asarray(sigma))
    np.testing.assert_allclose(found.mean, np.asarray(mean).mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.sigma, np.asarray(sigma).mean(), rtol=1e-6)
    assert found.mean.dtype == found.sigma.dtype == jnp.float32


def test_an_image_among_the_bounds_stays_and_another_comes_to_the_nearest():
    mean, sigma = (np.asarray(moment) for moment in image_moments(jnp.asarray(IMAGES)))
    bounds = moment_bounds(mean, sigma)
    np.testing.assert_array_equal([bounds.least.mean, bounds.most.mean], [mean.min(0), mean.max(0)])
    np.testing.assert_array_equal([bounds.least.sigma, bounds.most.sigma], [sigma.min(), sigma.max()])
    np.testing.assert_array_equal(match_moments(jnp.asarray(IMAGES), bounds), IMAGES)
    # Brighter in red, darker in blue and flatter than any: each moment for itself, none further than it must.
    red, _, blue = mean.mean(0)
    other = (IMAGES - mean[:, None, None]) * np.float32(0.5) + np.float32([2 * red, *mean.mean(0)[1:2], blue / 2])
    found, deviation = image_moments(match_moments(jnp.asarray(other, jnp.float32), bounds))
    expected = [mean[:, 0].max(), mean[:, 1].mean(), mean[:, 2].min()]
    np.testing.assert_allclose(found, [expected] * 3, rtol=1e-4)
    np.testing.assert_allclose(deviation, sigma.min(), rtol=1e-4)
