"""Blur and noise of a worse camera: SciPy's blur, the drawn range of noise, each image for itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from gnl_jax.images.degrade import NOISE, SIGMA, _blur, degrade

KEY = jax.random.key(0)
PICTURE = np.random.default_rng(0).integers(60, 190, (16, 16, 3)).astype(np.uint8)


@pytest.mark.slow
def test_blur_is_scipys():
    for sigma in (0.4, 1.3, 1.75):
        expected = [
            gaussian_filter(PICTURE[..., c].astype(np.float64), sigma, mode="nearest", radius=7) for c in range(3)
        ]
        found = _blur(jnp.asarray(PICTURE, jnp.float32), sigma)
        np.testing.assert_allclose(found, np.stack(expected, -1), atol=1e-3)


@pytest.mark.slow
def test_half_are_noisy_within_the_range():
    """On grey images blur changes nothing: what varies is the noise."""
    deviation = np.asarray(degrade(KEY, np.full((400, 16, 16, 3), 128, np.uint8))).std((1, 2, 3))
    noisy = deviation > 1e-3
    assert 0.42 < noisy.mean() < 0.58
    assert 0.85 * NOISE[0] < deviation[noisy].min() < 1.3 * NOISE[0]
    assert 0.8 * NOISE[1] < deviation[noisy].max() < 1.15 * NOISE[1]
    middle = np.sqrt(NOISE[0] * NOISE[1])  # half of an even draw on a logarithmic scale
    assert 0.38 < (deviation[noisy] < middle).mean() < 0.62


@pytest.mark.slow
def test_half_are_blurred_within_the_range():
    """An edge of 256 pixels: where there is no noise, all rows are one, and show the blur alone."""
    edge = np.zeros((120, 256, 16, 3), np.uint8)
    edge[:, :, 8:] = 200
    found = np.asarray(degrade(KEY, edge))
    quiet = found[found[..., 0].std(1).max(1) < 1e-2][:, 100, :, 0]
    assert 40 < len(quiet) < 80
    blurred = quiet[:, 7] > 1e-3
    assert 0.3 < blurred.mean() < 0.7
    least, most = (gaussian_filter(edge[0, 0, :, 0].astype(float), s, mode="nearest", radius=7)[7] for s in SIGMA)
    assert np.all((least - 1e-2 <= quiet[blurred, 7]) & (quiet[blurred, 7] <= most + 1e-2))
    assert np.ptp(quiet[blurred, 7]) > 0.5 * (most - least)


@pytest.mark.slow
def test_values_stay_pixels_and_the_key_decides():
    images = np.random.default_rng(1).choice(np.uint8([0, 255]), (8, 16, 16, 3))
    found = degrade(KEY, images)
    assert found.dtype == jnp.float32
    assert 0 <= float(found.min()) <= float(found.max()) <= 255
    np.testing.assert_array_equal(found, degrade(KEY, images))
    assert not np.array_equal(found, degrade(jax.random.key(1), images))
    alone = degrade(KEY, np.concatenate([images[:1], 255 - images[1:]]))
    np.testing.assert_array_equal(alone[0], found[0])
