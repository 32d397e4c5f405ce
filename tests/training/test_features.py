"""Features of a fixed teacher, computed once: the same training, or nothing where they do not fit."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_method
from tiny_method import make_config, make_task

from gnl_jax.training import loop
from gnl_jax.training.features import compute_features, with_features
from gnl_jax.training.loop import train


def make_phase(batch_size=4):
    config = make_config(batch_size=batch_size)
    (phase,) = tiny_method.make_method(config).phases
    return phase


@pytest.mark.parametrize("n", [1, 4, 7, 9])
def test_every_image_has_its_row(n):
    images = make_task(n).train
    features = compute_features(make_phase(), {}, images, budget_mb=1)
    np.testing.assert_array_equal(features["x"], jax.jit(tiny_method.precompute)({}, images)["x"])
    (batch,) = with_features([(np.array([[n - 1, 0]]), None, None)], features)
    np.testing.assert_array_equal(batch[3]["x"][0], features["x"][np.array([n - 1, 0])])


def test_nothing_to_compute_or_no_room(caplog):
    caplog.set_level("INFO", logger="absl")
    images = make_task(512).train  # 4 KiB of features each
    assert compute_features(make_phase(), {}, images, budget_mb=0) is None
    assert compute_features(dataclasses.replace(make_phase(), precompute=None), {}, images, budget_mb=99) is None
    assert caplog.messages == []
    assert compute_features(make_phase(), {}, images, budget_mb=1.9) is None
    assert "512 training images, 2 MiB, do not fit and are computed in every step" in caplog.text
    assert compute_features(make_phase(64), {}, images, budget_mb=2.0)["x"].shape == (512, 1024)
    assert "are computed once (train.feature_budget_mb is 2)" in caplog.text
    ((_, _, _, features),) = with_features([(np.zeros((1, 2), int), None, None)], None)
    assert features is None


def test_training_is_the_same(tmp_path):
    """Also across the end of an epoch, with several steps to a dispatch."""
    runs = []
    for name, budget in (("without", 0.0), ("with", 1.0)):
        config = make_config(steps_per_dispatch=3, feature_budget_mb=budget)
        runs.append(train(config, tmp_path / name, task=make_task(7), method=tiny_method.make_method(config)).state)
    for a, b in zip(*map(jax.tree.leaves, runs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    losses = [
        [json.loads(line)["loss"] for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("without", "with")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert len(losses[0]) == 8


def test_what_was_computed_is_what_is_used(tmp_path, monkeypatch):
    """Features of black images train another model."""
    config = make_config(feature_budget_mb=1.0)
    given = {"task": make_task(6), "method": tiny_method.make_method(config)}
    right = train(config, tmp_path / "right", **given).state
    black = {"x": jnp.zeros((6, 1024))}
    monkeypatch.setattr(loop, "compute_features", lambda *_, **__: black)
    wrong = train(config, tmp_path / "wrong", **given).state
    assert (np.asarray(right["weights"]) != np.asarray(wrong["weights"])).any()
