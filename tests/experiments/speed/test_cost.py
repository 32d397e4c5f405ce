"""Cost measurements: what they count, on a network that trains in milliseconds."""

import json

import numpy as np
import pytest
import tiny_method

from experiments.speed import cost_curves as cost
from experiments.speed.cost_curves import Cost, NoiseImages, cost_config, plot_cost, step_seconds, training_cost
from gnl_jax.training import loop


def test_images_that_exist_when_looked_at():
    images = NoiseImages(1000, 8)
    some = images[np.array([3, 999, 3])]
    assert len(images) == 1000
    assert some.shape == (3, 8, 8, 3)
    assert some.dtype == np.uint8
    np.testing.assert_array_equal(some[0], some[2])
    assert (some[0] != some[1]).any()


@pytest.mark.slow
def test_every_class_is_trained_over_its_images(monkeypatch):
    trained = []

    def train(config, workdir, task):
        trained.append((config.seed, len(task.train), config.train.feed))
        return loop.train(config, workdir, task=task, method=tiny_method.make_method(config))

    monkeypatch.setattr(cost, "train", train)
    one = training_cost(cost_config(size=32), images=20)
    three = training_cost(cost_config(size=32), images=20, classes=3)
    assert trained == [(seed, 20, "stream") for seed in (0, 0, 1, 2)]
    assert (one.count, three.count) == (20, 3)
    assert one.seconds > 0
    assert three.peak_bytes > 0


def test_compilation_is_no_cost_of_steps(tmp_path):
    rows = [{"step": i + 1, "seconds": s} for i, s in enumerate((100.0, 1.0, 2.0, 3.0))]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert step_seconds(tmp_path) == 8  # four steps of two


def test_the_picture(tmp_path):
    costs = [Cost(10, 1.0, 2**30), Cost(1000, 100.0, 2**30 + 1)]
    plot_cost(tmp_path / "cost.png", {"images": costs, "classes": costs})
    assert (tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="suffix"):
        plot_cost(tmp_path / "cost.docx", {"images": costs})
