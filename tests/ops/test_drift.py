"""Drift: the distance between distributions, blind to where things are and to the outermost ranks."""

import jax.numpy as jnp
import numpy as np
import pytest

from gnl_jax.ops.drift import channel_deviation, drift_score, middle_ranks

RNG = np.random.default_rng(0)
FEATURES = RNG.normal(size=(5, 8, 10, 3)).astype(np.float32)


def test_middle_ranks_are_the_sorted_values_without_the_outermost():
    got = np.asarray(middle_ranks(FEATURES))
    assert got.shape == (5, 72, 3)
    expected = np.sort(FEATURES.reshape(5, 80, 3), axis=1)[:, 4:76]
    np.testing.assert_array_equal(got, expected)


@pytest.mark.slow
def test_deviation_and_score_are_those_written_out():
    ranks, barycentre = np.asarray(middle_ranks(FEATURES)), RNG.normal(size=(72, 3)).astype(np.float32)
    deviation = channel_deviation(ranks, barycentre)
    expected = np.abs(ranks.astype(np.float64) - barycentre).mean(1)
    np.testing.assert_allclose(deviation, expected, rtol=1e-6)
    spreads = [np.array([1.0, 2.0, 4.0]), np.array([0.5, 0.5, 0.5])]
    score = drift_score([expected, 2 * expected], spreads)
    np.testing.assert_allclose(score, ((expected / spreads[0]).mean(1) + (2 * expected / 0.5).mean(1)) / 2, rtol=1e-6)


def test_moving_things_about_is_no_drift():
    order = RNG.permutation(80)
    moved = FEATURES.reshape(5, 80, 3)[:, order].reshape(FEATURES.shape)
    np.testing.assert_array_equal(middle_ranks(FEATURES), middle_ranks(moved))


@pytest.mark.parametrize("scale", [100.0, -100.0])
def test_a_few_extreme_values_hardly_move_it_and_a_change_of_all_does(scale):
    barycentre = np.asarray(middle_ranks(FEATURES)).mean(0)
    spread = np.asarray(channel_deviation(middle_ranks(FEATURES), barycentre)).mean(0)

    def drift(features):
        return np.asarray(drift_score([channel_deviation(middle_ranks(features), barycentre)], [spread]))

    defect = FEATURES.copy()
    defect[:, 2:4, 3:5] += scale  # four of 80 positions
    assert drift(FEATURES).mean() == pytest.approx(1, rel=1e-5)
    assert (drift(defect) < 2).all()
    assert (drift(FEATURES + 0.5) > 3).all()


def test_a_channel_that_never_varied_does_not_decide_alone():
    deviations, spreads = [jnp.array([[1.0, 1e-6]])], [jnp.array([1.0, 0.0])]
    assert float(drift_score(deviations, spreads)[0]) < 2
    assert np.isfinite(drift_score([jnp.zeros((1, 2))], [jnp.zeros(2)])).all()
