"""Methods from configuration to score on real digits, on a network that compiles quickly: train, restore, evaluate."""

import numpy as np
import pytest
from run_folders import small_architecture

from gnl_jax.config import default_config, set_method
from gnl_jax.evaluation.evaluate import evaluate
from gnl_jax.training.loop import train


@pytest.mark.slow
@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["augmix_efdm", *(pytest.param(name, marks=pytest.mark.slow) for name in ("mixstyle", "jigsaw"))]
)
def test_generalisation_baselines(name, tmp_path):
    """Twenty steps suffice to tell zeros from other digits far better than chance."""
    config = default_config()
    config.dataset.update(limit_train=32, limit_test=100, shifts=())
    config.teacher.weights = "random"
    config.method.normalise = "none"
    set_method(config, name)
    config.train.epochs = 10
    config.eval.batch_size = 50
    with small_architecture():
        config.teacher.arch = "resnet10"
        assert train(config, tmp_path).steps == 20
        (evaluation,) = evaluate(tmp_path)
    assert evaluation.row["method"] == name
    assert evaluation.row["steps"] == 20
    assert evaluation.row["auroc"]["id"] > 0.8
    assert np.isfinite(evaluation.tests["id"].score).all()
