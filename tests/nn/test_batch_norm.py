"""BatchNorm against NumPy, its folding of statistics against successive updates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gnl_jax.nn.batch_norm import BatchNorm, fold_statistics

RNG = np.random.default_rng(0)
SCALE, BIAS = RNG.standard_normal((2, 5)) + 1
VARIABLES = {
    "params": {"scale": SCALE, "bias": BIAS},
    "batch_stats": {"mean": RNG.standard_normal(5), "var": RNG.uniform(0.5, 2, 5)},
}
X = 3 * RNG.standard_normal((6, 4, 2, 5)) + 1


def train(variables, x, valid):
    y, updates = BatchNorm().apply(variables, x, valid, mutable=["statistics"])
    return y, updates["statistics"]


def numpy_batch_norm(x):
    mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    return (x - mean) / np.sqrt(var + 1e-5) * SCALE + BIAS, {"mean": mean, "var": x.var((0, 1, 2), ddof=1)}


def assert_close(a, b, atol=1e-12):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=atol), a, b)


def test_batch_norm_with_stored_statistics():
    mean, var = VARIABLES["batch_stats"]["mean"], VARIABLES["batch_stats"]["var"]
    with jax.enable_x64(True):
        got = BatchNorm().apply(VARIABLES, X)
    np.testing.assert_allclose(got, (X - mean) / np.sqrt(var + 1e-5) * SCALE + BIAS, atol=1e-12)


def test_batch_norm_normalises_by_the_biased_variance_and_reports_the_unbiased_one():
    with jax.enable_x64(True):
        assert_close(train(VARIABLES, X, np.ones(6, bool)), numpy_batch_norm(X))
        assert_close(train(VARIABLES, X[:, :1, :1], np.ones(6, bool)), numpy_batch_norm(X[:, :1, :1]))


def test_batch_norm_never_touches_its_stored_statistics():
    with jax.enable_x64(True):
        _, updates = BatchNorm().apply(VARIABLES, X, np.ones(6, bool), mutable=["statistics", "batch_stats"])
    jax.tree.map(np.testing.assert_array_equal, updates["batch_stats"], VARIABLES["batch_stats"])


def test_batch_norm_keeps_a_small_variance_on_a_large_mean():
    x = (1000 + 1e-2 * RNG.standard_normal((16, 8, 8, 5))).astype(np.float32)
    _, statistics = train(jax.tree.map(np.float32, VARIABLES), x, np.ones(16, bool))
    np.testing.assert_allclose(statistics["var"], np.float64(x).var((0, 1, 2), ddof=1), rtol=1e-3)


VALID = np.array([True, False, True, True, False, True])


@pytest.mark.slow
@pytest.mark.parametrize("fill", [0.0, 1e6, -1e15])
def test_rows_that_are_not_valid_change_nothing(fill):
    """Output, statistics and gradients are those of the batch without them; what fills them is finite."""
    weights = RNG.standard_normal(X.shape)
    padded = np.where(VALID[:, None, None, None], X, fill)

    def objective(variables, x, valid, weights):
        y, statistics = train(variables, x, valid)
        return jnp.sum(jnp.where(valid[:, None, None, None], y * weights, 0)), (y, statistics)

    with jax.enable_x64(True):
        gradient = jax.grad(objective, argnums=(0, 1), has_aux=True)
        (of_params, of_x), (y, statistics) = gradient(VARIABLES, padded, VALID, weights)
        (wanted_params, wanted_x), wanted = gradient(VARIABLES, X[VALID], np.ones(4, bool), weights[VALID])
    assert_close((y[VALID], statistics), wanted)
    assert_close(of_params, wanted_params)
    assert_close(of_x[VALID], wanted_x)
    np.testing.assert_array_equal(of_x[~VALID], 0)


def test_batch_norm_without_a_valid_row_is_finite():
    y, statistics = train(*jax.tree.map(np.float32, (VARIABLES, X)), np.zeros(6, bool))
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((y, statistics)))


def test_batch_norm_of_bfloat16_computes_in_float32():
    x = jnp.asarray(X, jnp.bfloat16)
    variables = jax.tree.map(np.float32, VARIABLES)
    y, statistics = train(variables, x, np.ones(6, bool))
    wide, expected = train(variables, x.astype(jnp.float32), np.ones(6, bool))
    assert y.dtype == jnp.bfloat16
    assert_close(statistics, expected)
    np.testing.assert_array_equal(y, wide.astype(jnp.bfloat16))


def test_each_view_is_normalised_by_itself():
    """Values, statistics and gradients of views at once are those of one view after the other."""
    views, weights = RNG.standard_normal((2, 3, *X.shape))

    def objective(variables, x, weights):
        y, statistics = train(variables, x, VALID)
        return jnp.sum(y * weights), (y, statistics)

    with jax.enable_x64(True):
        gradient = jax.grad(objective, argnums=(0, 1), has_aux=True)
        neighbours = (np.moveaxis(a, 0, 1) for a in (views, weights))
        (of_params, of_x), (y, statistics) = gradient(VARIABLES, *neighbours)
        of_x, y = (np.moveaxis(a, 1, 0) for a in (of_x, y))
        each = [gradient(VARIABLES, x, w) for x, w in zip(views, weights)]
    for i, ((_, one_of_x), one) in enumerate(each):
        assert_close(jax.tree.map(lambda a, i=i: a[i], (of_x, y, statistics)), (one_of_x, *one))
    assert_close(
        of_params, jax.tree.map(lambda *a: np.sum(a, axis=0), *(one_of_params for (one_of_params, _), _ in each))
    )


def test_whatever_fills_the_first_row_changes_nothing():
    x = np.concatenate([np.full((1, *X.shape[1:]), 1e6), X])
    with jax.enable_x64(True):
        y, statistics = train(VARIABLES, x, np.arange(7) > 0)
        assert_close((y[1:], statistics), numpy_batch_norm(X))


@pytest.mark.parametrize("views", [1, 3])
def test_fold_statistics_equals_successive_updates(views):
    running = {"a": RNG.standard_normal(5), "b": {"c": RNG.standard_normal(7)}}
    statistics = jax.tree.map(lambda r: RNG.standard_normal((views, *r.shape)), running)
    expected = running
    for i in range(views):
        expected = jax.tree.map(lambda r, s, i=i: 0.9 * r + 0.1 * s[i], expected, statistics)
    with jax.enable_x64(True):
        assert_close(fold_statistics(running, statistics), expected)
