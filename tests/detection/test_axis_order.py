"""Variables that are turned once: which ones, the same numbers, and nothing left to turn for each image."""

import fitted
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gnl_jax.detection import artifact, axis_order
from gnl_jax.detection.axis_order import orders_of, with_orders
from gnl_jax.detection.bound_program import turned
from gnl_jax.detection.programs import kept_score
from gnl_jax.methods.base import Prediction

RNG = np.random.default_rng(0)
X = RNG.standard_normal((64, 128)).astype(np.float32)
IMAGES = RNG.standard_normal((3, 128)).astype(np.float32)


def found(function, *arguments, count=1):
    return orders_of(jax.jit(function).trace(*arguments).jaxpr, count)


def test_what_is_only_transposed_is_found():
    assert found(lambda x, y: (x.T + 2 * x.T) * y, X, 2.0) == {0: (1, 0)}
    assert found(lambda x, y: x.transpose(2, 0, 1) + y, np.ones((8, 16, 64)), 2.0) == {0: (2, 0, 1)}
    assert found(jax.vmap(lambda x: jnp.sin(x.T.ravel())), np.ones((3, 64, 128))) == {0: (0, 2, 1)}
    assert found(lambda y, x: x.T * y, 2.0, X, count=2) == {1: (1, 0)}


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x + 1,
        lambda x: (x.T + 1, x.sum()),
        lambda x: (x.T + 1, x),
        lambda x: (x[None].transpose(2, 0, 1), 2 * x.T),
        lambda x: jnp.float32(1),
    ],
)
def test_what_is_read_otherwise_is_not(function):
    assert found(function, X) == {}


def test_an_image_and_small_arrays_stay_as_they_are(monkeypatch):
    assert found(lambda x, images: x.sum() + images.T, X, X) == {}
    monkeypatch.setattr(axis_order, "LEAST", X.size + 1)
    assert found(lambda x: x.T + 1, X) == {}


def test_the_turned_function_is_the_same():
    traced = jax.jit(lambda x, y: (jnp.sin(x.transpose(2, 0, 1)) @ y,)).trace(np.ones((8, 16, 64)), np.ones(16))
    function, taken = with_orders(traced.jaxpr, {0: (2, 0, 1)})
    assert [x.shape for x in taken] == [(64, 8, 16), (16,)]
    x, y = RNG.standard_normal((8, 16, 64)).astype(np.float32), RNG.standard_normal(16).astype(np.float32)
    (result,) = jax.jit(function)(turned(x, (2, 0, 1)), y)
    np.testing.assert_array_equal(result, jax.jit(lambda x, y: jnp.sin(x.transpose(2, 0, 1)) @ y)(x, y))
    text = jax.jit(function).lower(*taken).compile().as_text()
    assert " transpose(" not in text
    assert " copy(" not in text


@pytest.mark.parametrize("kind", [np.asarray, jnp.asarray])
@pytest.mark.parametrize("keep", [True, False])
def test_a_kept_program_takes_them_turned(kind, keep, tmp_path):
    def make():
        return lambda variables, images: Prediction((images @ jnp.sin(variables["x"].T)).max(1), None, images.sum(1))

    score = kept_score(make, folder=tmp_path if keep else None, about={})
    for variables in ({"x": kind(X)}, {"x": kind(X)}, {"x": kind(2 * X)}):
        for got, expected in zip(score(variables, IMAGES), jax.jit(make())(variables, IMAGES)):
            assert (got is None) == (expected is None)
            if expected is not None:
                np.testing.assert_allclose(got, expected, rtol=1e-5)
    if keep:
        (path,) = tmp_path.glob("*.program")
        assert b'"orders": {"0": [1, 0]}' in path.read_bytes()
        again = kept_score(lambda: pytest.fail("compiled again"), folder=tmp_path, about={})
        np.testing.assert_array_equal(again({"x": kind(X)}, IMAGES).score, score({"x": kind(X)}, IMAGES).score)


@pytest.mark.xdist_group("fitted")
@pytest.mark.usefixtures("small_network")
def test_a_detectors_references_and_barycentres_are_turned(monkeypatch, tmp_path):
    """So that none is transposed for each image."""
    seen = []

    def noted(traced, count):
        orders = orders_of(traced, count)
        seen.extend(traced.in_avals[i].shape for i in orders)
        return orders

    monkeypatch.setattr(axis_order, "orders_of", noted)
    monkeypatch.setattr(axis_order, "LEAST", 1)
    detector, _ = fitted.fitted()
    artifact.save(detector, tmp_path / "digits.gnl")
    artifact.load(tmp_path / "digits.gnl", programs=None)
    references, drift = detector.variables["references"], detector.variables["drift"]["barycentre"]
    assert set(seen) == {x.shape for x in (*references, *drift.values())}
