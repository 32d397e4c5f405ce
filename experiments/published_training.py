"""Trains GNL by the published step in PyTorch, into a run folder that experiments/evaluate.py tests like any other.

python experiments/published_training.py --config=configs/mnist.py:5,gnl --workdir=RUN \
    --config.dataset.root=DATA --config.dataset.mnist_m=DATA/mnist_m
python experiments/evaluate.py --workdir=RUN

Teacher, first weights of the student, order of the images and distribution of the views are those of
experiments/train.py; networks, losses, gradients and Adam are the published ones, in float32. Not resumable: an
interrupted run needs another folder. Needs the extra `torch`.
"""

import contextlib
import time

import jax
import numpy as np
import torch
from absl import app, flags
from ml_collections import config_flags

from experiments.speed.published_exchange import check_published, published_step, student_of, view_maker
from gnl_jax import console
from gnl_jax.config_io import save_config
from gnl_jax.data.load import load_task
from gnl_jax.methods.build import build_method
from gnl_jax.nn.pretrained import resolve_source
from gnl_jax.progress import progress_bar
from gnl_jax.training.arrays import save_arrays
from gnl_jax.training.checkpoint import Checkpoints
from gnl_jax.training.loop import phase_schedule
from gnl_jax.training.metrics_log import MetricsLog
from gnl_jax.training.workdir import open_workdir

CONFIG = config_flags.DEFINE_config_file("config", None, "Configuration file, FILE.py[:ARGUMENT].", lock_config=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Run folder that is made; it may not hold a run.")


def run() -> None:
    config = CONFIG.value.copy_and_resolve_references()
    check_published(config)
    with open_workdir(WORKDIR.value) as folder:
        if (folder / "config.json").exists():
            raise ValueError(f"workdir {folder}: holds a run, expected another folder")
        config.teacher.weights = resolve_source(config.teacher.weights, config.teacher.arch)
        method, images = build_method(config), load_task(config.dataset, seed=config.seed).train
        (phase,) = method.phases
        schedule, total = phase_schedule(config, phase, len(images))
        save_arrays(folder / "frozen.safetensors", method.frozen)
        save_config(folder, config)
        key, make = jax.random.key(config.seed), view_maker(config)
        state, log = phase.init(key, None, None), MetricsLog(folder / "metrics.jsonl")
        networks, step = published_step(config, method.frozen, jax.tree.map(np.asarray, state), torch.float32)
        with contextlib.closing(log), progress_bar("published steps", total) as advance:
            for number in range(total):
                begun, (indices, valid) = time.perf_counter(), schedule.batch(number)
                views = make(jax.random.fold_in(key, number), np.asarray(images[indices[valid]]))
                losses = step(np.ascontiguousarray(np.moveaxis(np.asarray(views), -1, 2)))
                epoch, seconds = number // schedule.steps_per_epoch, time.perf_counter() - begun
                log.append({"step": number + 1, "phase": phase.name, "epoch": epoch, **losses, "seconds": seconds})
                advance(1, f"loss {losses['loss']:.4f}")
        with Checkpoints(folder / "checkpoints" / phase.name) as checkpoints:
            checkpoints.save(total, student_of(networks, state), config)
    print(f"trained {total} published steps: {WORKDIR.value}")


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(lambda argv: console.run(run), flags_parser=console.parse_flags)
