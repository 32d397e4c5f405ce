"""Patch embeddings and their maps against SciPy."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates, uniform_filter

from gnl_jax.ops.patches import average_3x3, distance_map, half_pixel_matrix, patch_embedding

RNG = np.random.default_rng(0)


def test_average_is_a_uniform_filter_with_zeros_outside():
    x = RNG.normal(size=(2, 5, 6, 3)).astype(np.float32)
    expected = uniform_filter(x, size=(1, 3, 3, 1), mode="constant")
    np.testing.assert_allclose(average_3x3(jnp.asarray(x)), expected, atol=1e-6)


@pytest.mark.parametrize(("n_out", "n_in"), [(8, 4), (16, 2), (9, 4), (4, 4), (8, 1)])
def test_interpolation_reads_between_pixel_centres(n_out, n_in):
    values = RNG.normal(size=n_in)
    at = (np.arange(n_out) + 0.5) * n_in / n_out - 0.5
    expected = map_coordinates(values, [at], order=1, mode="nearest")
    np.testing.assert_allclose(half_pixel_matrix(n_out, n_in) @ values, expected, atol=1e-12)


def test_stages_are_brought_to_the_finest_grid_and_joined():
    fine, coarse = RNG.normal(size=(2, 8, 8, 3)), RNG.normal(size=(2, 4, 4, 5))
    joined = patch_embedding([jnp.asarray(fine, jnp.float32), jnp.asarray(coarse, jnp.float32)])
    assert joined.shape == (2, 8, 8, 8)
    np.testing.assert_allclose(joined[..., :3], average_3x3(jnp.asarray(fine, jnp.float32)), rtol=1e-6)
    alone = patch_embedding([jnp.asarray(coarse, jnp.float32)])
    np.testing.assert_allclose(joined[:, ::2, ::2, 3:].shape, alone.shape)
    matrix = half_pixel_matrix(8, 4)
    expected = np.einsum("hi,bijc,wj->bhwc", matrix, np.asarray(alone, np.float64), matrix)
    np.testing.assert_allclose(joined[..., 3:], expected, atol=1e-5)


def test_map_is_interpolated_and_smoothed_as_scipy_would():
    distances = RNG.random((2, 8, 8)).astype(np.float32)
    grid = np.stack(np.meshgrid(*[(np.arange(64) + 0.5) / 8 - 0.5] * 2, indexing="ij"))
    for found, given in zip(distance_map(jnp.asarray(distances), size=(64, 64)), distances):
        expected = gaussian_filter(map_coordinates(given.astype(np.float64), grid, order=1, mode="nearest"), 4)
        np.testing.assert_allclose(found, expected, atol=1e-6)
