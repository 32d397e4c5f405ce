"""What training costs in time and memory as images and classes grow, on images that are made when asked for."""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from experiments.speed.timing import peak_bytes
from gnl_jax.config import default_config, set_method
from gnl_jax.data.protocol import Task
from gnl_jax.evaluation.charts import LINES
from gnl_jax.evaluation.plots import picture
from gnl_jax.training.loop import train


class Cost(NamedTuple):
    """One measurement: `count` images, or runs of other classes; seconds of their steps, greatest memory in bytes."""

    count: int
    seconds: float
    peak_bytes: int


class NoiseImages:
    """n images uint8 [size size 3] that exist only while they are looked at: image i follows from (seed, i)."""

    def __init__(self, n: int, size: int, *, seed: int = 0):
        self.n, self.size, self.seed = n, size, seed

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        shape = (self.size, self.size, 3)
        return np.stack([np.random.default_rng([self.seed, int(i)]).integers(0, 256, shape, np.uint8) for i in indices])


def cost_config(*, size: int, method: str = "gnl") -> ConfigDict:
    """An epoch of a method with a random ResNet-18, its images streamed."""
    config = set_method(default_config(), method)
    config.teacher.weights = "random"
    config.dataset.size = size
    config.train.update(epochs=1, feed="stream")
    return config


def training_cost(config: ConfigDict, *, images: int, classes: int = 1) -> Cost:
    """Trains one run after the other over so many images each, and forgets them."""
    seconds = 0.0
    with tempfile.TemporaryDirectory(prefix="gnl_jax_") as folder:
        for seed in range(classes):
            config.seed = seed
            task = Task("noise", "any", NoiseImages(images, config.dataset.size, seed=seed), {})
            workdir = Path(folder, str(seed))
            train(config, workdir, task=task)
            seconds += step_seconds(workdir)
    return Cost(images if classes == 1 else classes, seconds, peak_bytes())


def step_seconds(workdir: Path) -> float:
    """Seconds of a run's steps; the first one, in which the program is compiled, counts as the mean of the others."""
    with (workdir / "metrics.jsonl").open() as lines:
        steps = [json.loads(line)["seconds"] for line in lines]
    return float(np.mean(steps[1:]) * len(steps)) if len(steps) > 1 else steps[0]


def plot_cost(path: str | os.PathLike, curves: Mapping[str, Sequence[Cost]]) -> None:
    """Two panels: seconds and memory against the number of images, or of classes, both axes of time logarithmic.

    curves: "images" or "classes" to measurements, ascending. A dotted line shows what grows in proportion.
    """
    with picture(path, width=6.4, height=2.8) as figure:
        time, memory = figure.subplots(1, 2)
        for (label, costs), (colour, marker, style) in zip(curves.items(), LINES):
            counts = [cost.count for cost in costs]
            look = {"color": colour, "marker": marker, "markersize": 3.5, "linewidth": 1.2, "label": label}
            time.plot(counts, [cost.seconds for cost in costs], style, **look)
            line = [costs[-1].seconds * count / costs[-1].count for count in counts]
            time.plot(counts, line, ":", color=colour, linewidth=0.8)
            memory.plot(counts, [cost.peak_bytes / 2**30 for cost in costs], style, **look)
        for axes, name in ((time, "seconds of training"), (memory, "greatest memory, GiB")):
            axes.set(xscale="log", xlabel="images in an epoch; classes", ylabel=name)
        time.set_yscale("log")
        for axis in (time.xaxis, time.yaxis, memory.xaxis):
            axis.set_major_formatter("{x:g}")  # powers would be mathematical text, which pictures do without
            axis.set_minor_formatter("")
        memory.set_ylim(bottom=0)
        time.legend()
