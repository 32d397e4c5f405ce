"""Bootstrap intervals: coverage, what they depend on, and the fast form against ranking every resample."""

import numpy as np
import pytest

from gnl_jax.evaluation import metrics
from gnl_jax.evaluation.bootstrap import auroc_interval, bootstrap_interval


@pytest.mark.parametrize("levels", [3, 20, 10**6])
def test_the_fast_interval_is_that_of_ranking_every_resample(levels):
    rng = np.random.default_rng(levels)
    for n, share in ((7, 0.3), (60, 0.8), (200, 0.1)):
        labels = np.arange(n) < max(1, share * n)
        scores = (np.round(levels * (rng.normal(size=n) + labels)) / levels).astype(np.float32)
        options = {"level": 0.8, "resamples": 60, "seed": n}
        expected = bootstrap_interval(scores, labels, metric=metrics.auroc, **options)
        assert auroc_interval(scores, labels, **options) == pytest.approx(expected, abs=1e-12)


def test_bootstrap_interval_agrees_with_the_standard_error_of_hanley_and_mcneil():
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2 == 0
    scores = rng.normal(size=400) + labels
    low, high = bootstrap_interval(scores, labels, resamples=400, seed=1)
    area = metrics.auroc(scores, labels)
    q1, q2, n = area / (2 - area), 2 * area**2 / (1 + area), 200
    error = np.sqrt((area * (1 - area) + (n - 1) * (q1 + q2 - 2 * area**2)) / n**2)
    assert low < area < high
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_bootstrap_interval_is_a_function_of_its_seed_and_keeps_both_classes():
    labels = np.array([True] + [False] * 30)  # an unstratified resample would lack the anomalous image often
    scores = np.linspace(0, 1, 31)
    args = {"metric": metrics.average_precision, "level": 0.5, "resamples": 50}
    first = bootstrap_interval(scores, labels, seed=3, **args)
    assert first == bootstrap_interval(scores, labels, seed=3, **args)
    reordered = bootstrap_interval(scores[::-1], labels[::-1], seed=3, **args)
    assert reordered == pytest.approx(first, abs=0.02)
    with pytest.raises(ValueError, match="level"):
        bootstrap_interval(scores, labels, level=1.0)
    with pytest.raises(ValueError, match="resamples"):
        bootstrap_interval(scores, labels, resamples=0)
    with pytest.raises(ValueError, match="level"):
        auroc_interval(scores, labels, level=0.0)
    with pytest.raises(ValueError, match="resamples"):
        auroc_interval(scores, labels, resamples=0)
    with pytest.raises(ValueError, match="one class missing"):
        auroc_interval(scores, np.zeros(31, bool))
