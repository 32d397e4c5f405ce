"""How many epochs fit into a time, measured on a source that gives images by a row of indices, as files do."""

import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import tiny_method
from tiny_method import make_config

from gnl_jax.training import budget
from gnl_jax.training.budget import epochs_within


class Strict:
    """Images by 1-d indices only, which is all that a source promises."""

    def __init__(self, images: np.ndarray):
        self.images, self.shape, self.dtype = images, images.shape, images.dtype

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        assert indices.ndim == 1, f"got indices of shape {indices.shape}"
        return self.images[indices]


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """The small method; the first dispatch takes 100 seconds, the second 6, the third 3."""
    ends = itertools.chain.from_iterable((0.0, seconds) for seconds in (100.0, 6.0, 3.0))
    monkeypatch.setattr(budget, "build_method", tiny_method.make_method)
    monkeypatch.setattr(budget, "time", SimpleNamespace(perf_counter=lambda: next(ends)))


@pytest.mark.parametrize(
    ("n", "steps", "features", "epoch"),
    [
        (7, 3, 0.0, 4 * 3 / 3),  # seconds: 4 batches of 2 images, of which 3 take 3 seconds
        (7, 3, 1.0, 4 * 3 / 3),
        (8, 1, 0.0, 4 * 3 / 1),
        (1, 3, 1.0, 1 * 3 / 3),  # fewer images than a batch
    ],
)
def test_epochs_of_the_quickest_dispatch_after_the_first(n, steps, features, epoch):
    config = make_config(steps_per_dispatch=steps, feature_budget_mb=features)
    images = Strict(tiny_method.make_task(n).train)
    assert epochs_within(config, images, minutes=1) == (60 / epoch, epoch)


def test_epochs_are_whole_and_may_be_none():
    images = Strict(tiny_method.make_task(7).train)
    assert epochs_within(make_config(steps_per_dispatch=3), images, minutes=3.9 / 60) == (0, 4.0)


@pytest.mark.parametrize("minutes", [0, -1, float("nan")])
def test_no_time_is_refused(minutes):
    with pytest.raises(ValueError, match=r"time budget: got .* minutes, expected more than 0"):
        epochs_within(make_config(), Strict(tiny_method.make_task(2).train), minutes=minutes)
