"""Cosine distances: SciPy's values, and what happens at a zero vector."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.distance import cosine

from gnl_jax.ops.cosine import cosine_distance, cosine_distance_map

RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((2, 3, 4, 5, 6)).astype(np.float32)


def test_distance_of_whole_examples():
    expected = [cosine(a.ravel(), b.ravel()) for a, b in zip(A, B, strict=True)]
    np.testing.assert_allclose(cosine_distance(A, B), expected, rtol=1e-6)


def test_distance_at_every_position():
    pairs = zip(A.reshape(-1, 6), B.reshape(-1, 6), strict=True)
    expected = np.reshape([cosine(a, b) for a, b in pairs], (3, 4, 5))
    np.testing.assert_allclose(cosine_distance_map(A, B), expected, atol=1e-6)


def test_range():
    np.testing.assert_allclose(cosine_distance(A, 3 * A), 0, atol=1e-6)
    np.testing.assert_allclose(cosine_distance(A, -A), 2, atol=1e-6)


def test_norms_are_bounded_below_by_1e_8_as_in_torch():
    a, b = np.zeros((2, 1, 4), np.float32)
    a[0, 0], b[0, 0] = 3e-9, 2  # a's cosine with b is 1; of its norm only 3e-9 of the bound's 1e-8 are there
    np.testing.assert_allclose(cosine_distance(a, b), [1 - 0.3], rtol=1e-5)
    np.testing.assert_allclose(cosine_distance(10 * a, b), [0], atol=1e-6)


@pytest.mark.parametrize("distance", [cosine_distance, cosine_distance_map])
@pytest.mark.parametrize(("a", "b"), [(0 * A, B), (A, 0 * B), (0 * A, 0 * B)])
def test_a_zero_vector_is_at_distance_1_with_a_finite_gradient(distance, a, b):
    value, gradients = jax.value_and_grad(lambda a, b: distance(a, b).sum(), argnums=(0, 1))(a, b)
    assert value == distance(a, b).size
    assert all(jnp.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize("distance", [cosine_distance, cosine_distance_map])
def test_bfloat16_is_computed_in_float32(distance):
    a, b = jnp.asarray(A, jnp.bfloat16), jnp.asarray(B, jnp.bfloat16)
    got = distance(a, b)
    assert got.dtype == jnp.float32
    np.testing.assert_array_equal(got, distance(a.astype(jnp.float32), b.astype(jnp.float32)))


def test_float64_stays_float64():
    with jax.enable_x64(True):
        a, b = A.astype(np.float64), B.astype(np.float64)
        got = cosine_distance(a, b)
        assert got.dtype == jnp.float64
        np.testing.assert_allclose(got, [cosine(x.ravel(), y.ravel()) for x, y in zip(a, b)], rtol=1e-14)
