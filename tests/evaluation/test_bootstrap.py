"""Bootstrap intervals: against ranking every resample by scikit-learn, their width, and what they depend on."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from gnl_jax.evaluation import metrics
from gnl_jax.evaluation.bootstrap import auroc_interval


def reference(scores, labels, *, level, resamples, seed):
    """The definition: scikit-learn's AUROC of each resample."""
    normals, anomalies = scores[~labels], scores[labels]
    rng, values = np.random.default_rng(seed), []
    for _ in range(resamples):
        drawn = np.concatenate([rng.choice(normals, len(normals)), rng.choice(anomalies, len(anomalies))])
        values.append(roc_auc_score(np.arange(len(scores)) >= len(normals), drawn))
    return np.quantile(values, [(1 - level) / 2, (1 + level) / 2])


@pytest.mark.parametrize("levels", [3, 20, 10**6])
def test_the_interval_is_that_of_ranking_every_resample(levels):
    rng = np.random.default_rng(levels)
    for n, share in ((7, 0.3), (60, 0.8), (200, 0.1)):
        labels = np.arange(n) < max(1, share * n)
        scores = (np.round(levels * (rng.normal(size=n) + labels)) / levels).astype(np.float32)
        options = {"level": 0.8, "resamples": 60, "seed": n}
        assert auroc_interval(scores, labels, **options) == pytest.approx(reference(scores, labels, **options))


def test_the_interval_agrees_with_the_standard_error_of_hanley_and_mcneil():
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 2 == 0
    scores = rng.normal(size=400) + labels
    low, high = auroc_interval(scores, labels, resamples=400, seed=1)
    area = metrics.auroc(scores, labels)
    q1, q2, n = area / (2 - area), 2 * area**2 / (1 + area), 200
    error = np.sqrt((area * (1 - area) + (n - 1) * (q1 + q2 - 2 * area**2)) / n**2)
    assert low < area < high
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.15)


def test_the_interval_is_a_function_of_its_seed_and_keeps_both_classes():
    labels = np.array([True] + [False] * 30)  # an unstratified resample would lack the anomalous image often
    scores = np.roll(np.linspace(0, 1, 31), 10)
    args = {"level": 0.5, "resamples": 50}
    first = auroc_interval(scores, labels, seed=3, **args)
    assert first == auroc_interval(scores, labels, seed=3, **args)
    others = {auroc_interval(scores, labels, seed=seed, **args) for seed in range(4)}
    assert len(others) > 1
    reordered = auroc_interval(scores[::-1], labels[::-1], seed=3, **args)
    assert reordered == pytest.approx(first, abs=0.05)
    with pytest.raises(ValueError, match="level"):
        auroc_interval(scores, labels, level=0.0)
    with pytest.raises(ValueError, match="level"):
        auroc_interval(scores, labels, level=1.0)
    with pytest.raises(ValueError, match="resamples"):
        auroc_interval(scores, labels, resamples=0)
    with pytest.raises(ValueError, match="one class missing"):
        auroc_interval(scores, np.zeros(31, bool))
