"""Losses against SciPy, their gradients against finite differences, and what they do with views and missing rows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.spatial.distance import cosine

from gnl_jax.methods.losses import LossWeights, masked_mean, reconstruction_loss, similarity_loss

RNG = np.random.default_rng(0)
SHAPES = (5, 4, 4, 2), (5, 2, 2, 3), (5, 1, 1, 7)
TEACHER, STUDENT = ([RNG.standard_normal(shape) for shape in SHAPES] for _ in range(2))
VIEWS = RNG.standard_normal((4, 5, 2, 2, 3))


def pairwise(a, b):
    """SciPy's distance of each pair of examples, flattened."""
    return np.array([cosine(x.ravel(), y.ravel()) for x, y in zip(a, b, strict=True)])


def test_published_weights():
    assert LossWeights() == (0.9, 0.05, 0.05)
    assert LossWeights._fields == ("ori", "abs", "lowf")  # names of the terms they weigh


def test_reconstruction_loss_adds_the_levels_distances():
    with jax.enable_x64(True):
        got = reconstruction_loss(TEACHER, STUDENT)
    np.testing.assert_allclose(got, sum(map(pairwise, TEACHER, STUDENT)), atol=1e-12)


def test_reconstruction_loss_of_a_scaled_copy_is_zero():
    with jax.enable_x64(True):
        np.testing.assert_allclose(reconstruction_loss(TEACHER, [3 * e for e in TEACHER]), 0, atol=1e-12)


def test_reconstruction_loss_compares_whole_maps():
    """Right directions with wrong lengths: a comparison position by position would find no difference."""
    lengths = RNG.uniform(0.1, 10, (5, 4, 4, 1))
    assert (reconstruction_loss(TEACHER[:1], [TEACHER[0] * lengths]) > 0.1).all()


def test_reconstruction_loss_needs_as_many_levels_of_both():
    with pytest.raises(ValueError, match="shorter"):
        reconstruction_loss(TEACHER, STUDENT[:2])


@pytest.mark.parametrize(("reduction", "divisor"), [("sum", 1), ("mean", 3)])
def test_similarity_loss_compares_view_0_with_every_other(reduction, divisor):
    expected = sum(pairwise(VIEWS[0], view) for view in VIEWS[1:]) / divisor
    with jax.enable_x64(True):
        np.testing.assert_allclose(similarity_loss(VIEWS, reduction=reduction), expected, atol=1e-12)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_similarity_loss_of_one_view_is_zero(reduction, dtype):
    one, two = (similarity_loss(jnp.asarray(VIEWS[:n], dtype), reduction=reduction) for n in (1, 2))
    np.testing.assert_array_equal(one, np.zeros(5))
    assert one.dtype == two.dtype == jnp.float32


def test_similarity_loss_names_a_wrong_reduction():
    with pytest.raises(ValueError, match=r"reduction: got 'none', expected 'sum' or 'mean'"):
        similarity_loss(VIEWS, reduction="none")


def test_gradients_flow_to_every_view():
    """Finite differences move view 0 and the others alike, so a stopped gradient would be found."""
    with jax.enable_x64(True):
        check = functools.partial(check_grads, order=1, modes=["rev"], rtol=1e-5)
        check(jax.jit(functools.partial(similarity_loss, reduction="sum")), (VIEWS,))
        check(jax.jit(reconstruction_loss), (TEACHER, STUDENT))


@pytest.mark.parametrize("fill", [0.0, 1e30, np.nan])
def test_masked_mean_is_of_the_valid_rows(fill):
    values, valid = np.float32([1, fill, 4, 7, fill]), np.array([True, False, True, True, False])
    mean, gradient = jax.value_and_grad(masked_mean)(values, valid)
    assert mean == 4
    np.testing.assert_allclose(gradient, valid / np.float32(3), rtol=1e-6)


def test_masked_mean_of_nothing_is_zero():
    mean, gradient = jax.value_and_grad(masked_mean)(np.float32([1, np.nan]), np.zeros(2, bool))
    assert mean == 0
    np.testing.assert_array_equal(gradient, 0)
