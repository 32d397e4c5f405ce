"""Training while images are streamed: more images than may be kept, the same bits, and errors that name the file."""

import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from gnl_jax.config import default_config
from gnl_jax.data.folder import FolderOptions, folder_task
from gnl_jax.methods.base import Method, Phase
from gnl_jax.training import loop

N, SIZE = 22, 32
BYTES = N * SIZE * SIZE * 3


class State(NamedTuple):
    step: jax.Array
    weights: jax.Array


def init(key, previous, images):
    return State(jnp.int32(0), jax.random.normal(key, (SIZE, 3)))


def step(key, state, frozen, images, valid, features):
    """A step whose result depends on the rounding of every pixel, its row and its turn."""
    noise = jax.random.normal(jax.random.fold_in(key, state.step), state.weights.shape)
    x = images.astype(jnp.float32) * frozen["scale"]
    errors = jnp.square(jnp.einsum("bhwc,wc->bh", x, state.weights) - 1).mean(1)
    loss = jnp.sum(jnp.where(valid, errors, 0)) / valid.sum()
    weights = state.weights * 0.9 + 0.1 * x.mean((0, 1)) + 0.01 * noise
    return State(state.step + 1, weights), {"loss": loss}


def tiny_method(config):
    phase = Phase("tiny", config.train.epochs, config.train.batch_size, init, step)
    return Method("tiny", {"scale": jnp.float32(1 / 255)}, (phase,), lambda *_: {}, lambda *_: None)


def train(config, folder, *, task):
    return loop.train(config, folder, task=task, method=tiny_method(config))


@pytest.fixture
def folder(tmp_path):
    for i in range(N + 3):  # three are held out for the test
        (tmp_path / "good").mkdir(exist_ok=True)
        image = np.random.default_rng(i).integers(0, 256, (40, 50, 3), np.uint8)
        Image.fromarray(image).save(tmp_path / "good" / f"{i:02d}.png")
    return tmp_path / "good"


def task_of(folder, *, memory_mb, cache_dir):
    return folder_task(str(folder), options=FolderOptions(size=SIZE, memory_mb=memory_mb, cache_dir=cache_dir))


def config_of(**train):
    config = default_config()
    config.teacher.weights = "random"
    config.train.update(epochs=2, batch_size=4, checkpoint_seconds=0.0, **train)
    return config


def outcome(trained, workdir):
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [np.asarray(leaf).tobytes() for leaf in trained.state], [{**row, "seconds": 0} for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("steps_per_dispatch", [1, 3])
def test_twice_the_budget_is_streamed_to_the_same_bits(folder, tmp_path, caplog, steps_per_dispatch):
    caplog.set_level("INFO", logger="absl")
    budget = BYTES / 2 / 2**20
    outcomes = []
    for name, memory_mb, device_mb, words in (
        ("device", 100, 100, "live on the device"),
        ("memory", 100, budget, "are streamed"),
        ("files", budget, budget, "are streamed"),
    ):
        task = task_of(folder, memory_mb=memory_mb, cache_dir=str(tmp_path / "cache"))
        assert isinstance(task.train, np.ndarray) == (name != "files")
        config = config_of(steps_per_dispatch=steps_per_dispatch, device_budget_mb=float(device_mb))
        trained = train(config, tmp_path / name, task=task)
        assert words in caplog.text
        caplog.clear()
        assert trained.steps == 12
        outcomes.append(outcome(trained, tmp_path / name))
    assert outcomes[0] == outcomes[1] == outcomes[2]


@pytest.mark.slow
def test_a_file_that_breaks_while_training_is_named_and_training_goes_on_once_it_is_back(folder, tmp_path):
    config = config_of(feed="stream")
    options = {"memory_mb": 0.0, "cache_dir": ""}
    whole = train(config, tmp_path / "whole", task=task_of(folder, **options))
    task = task_of(folder, **options)
    broken = folder / "11.png"
    broken.rename(tmp_path / "11.png")
    with pytest.raises(ValueError, match=r"good/11\.png': No such file"):
        train(config, tmp_path / "run", task=task)
    (tmp_path / "11.png").rename(broken)
    steps_before = len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert steps_before < 6  # each image is seen in the first epoch
    again = train(config, tmp_path / "run", task=task)
    assert outcome(again, tmp_path / "run") == outcome(whole, tmp_path / "whole")
