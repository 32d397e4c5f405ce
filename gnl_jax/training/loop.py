"""Training: phases of a method over a task, resumable at any step with the same result to the last bit."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from gnl_jax.data.feed import Batches, Schedule, choose_feed, make_schedule
from gnl_jax.data.load import load_task
from gnl_jax.data.protocol import ImageSource, Task
from gnl_jax.methods.base import Method, Phase
from gnl_jax.methods.build import build_method, matmul_precision
from gnl_jax.methods.scoring import anchor_images
from gnl_jax.nn.pretrained import resolve_source
from gnl_jax.progress import progress_bar
from gnl_jax.training.arrays import load_arrays, save_arrays
from gnl_jax.training.checkpoint import Checkpoints
from gnl_jax.training.dispatch import make_dispatch, steps_per_dispatch
from gnl_jax.training.interrupt import StopRequest, stop_request
from gnl_jax.training.workdir import MetricsLog, check_resume, load_config, open_workdir, save_config

PyTree = Any


class TrainingError(ValueError):
    """Training cannot go on; the message says at which step and why."""


class Trained(NamedTuple):
    """A finished run: its method (scoring included), the last phase's state, and the steps taken in all."""

    method: Method
    state: PyTree
    steps: int


def train(config: ConfigDict, workdir: str | Path, *, task: Task | None = None) -> Trained:
    """Trains what `config` describes into `workdir`, or goes on where an earlier call stopped.

    Writes config.json, frozen.safetensors (the teacher), metrics.jsonl and checkpoints/. Raises ValueError for a
    configuration or folder that cannot be used, TrainingError for a loss that is not finite; SystemExit(128 + signal)
    after a checkpoint when asked to stop by SIGTERM or Ctrl-C.
    """
    with open_workdir(workdir) as folder:
        config, frozen = _begin(folder, config)
        method = build_method(config, frozen=frozen)
        if task is None:
            task = load_task(config.dataset, seed=config.seed)
        for phase in method.phases:
            phase_schedule(config, phase, len(task.train))
        anchor_images(len(task.train), anchor=config.eval.anchor, k=config.eval.anchors, seed=config.seed)
        feed = choose_feed(task.train, feed=config.train.feed, budget_mb=config.train.device_budget_mb)
        # Everything that can be wrong with the configuration has been found by now: the folder may be begun.
        if frozen is None:
            save_arrays(folder / "frozen.safetensors", method.frozen)
        save_config(folder, config)
        log = MetricsLog(folder / "metrics.jsonl")
        try:
            with stop_request() as stop, jax.default_matmul_precision(matmul_precision(config)):
                run = _Run(config, folder, log, stop, feed)
                state, steps = None, 0
                for phase in method.phases:
                    state, taken = _run_phase(run, phase, method.frozen, state, task.train, offset=steps)
                    steps += taken
        finally:
            log.close()
    return Trained(method, state, steps)


class _Run(NamedTuple):
    config: ConfigDict
    folder: Path
    log: MetricsLog
    stop: StopRequest
    feed: Callable[..., Batches]


def _begin(folder: Path, config: ConfigDict) -> tuple[ConfigDict, PyTree | None]:
    """Checks or writes the folder's config; the config in force, and the frozen arrays if the folder has them.

    Where the weights come from is resolved once, when the run begins; to go on, nobody has to say it again.
    """
    config = config.copy_and_resolve_references()
    begun = (folder / "config.json").exists()
    if begun:
        saved = load_config(folder)
        config.teacher.weights = config.teacher.weights or saved.teacher.weights
        check_resume(saved, config)
    else:
        config.teacher.weights = resolve_source(config.teacher.weights)
    if config.teacher.weights == "random":
        logging.info(
            "the teacher is random: fit for a demonstration and for tests. "
            "--config.teacher.weights=imagenet (or a file) uses trained weights"
        )
    frozen = folder / "frozen.safetensors"
    arrays = load_arrays(frozen) if begun and frozen.exists() else None
    return config, arrays


def phase_schedule(config: ConfigDict, phase: Phase, n: int) -> tuple[Schedule, int]:
    """The batches of a phase over n images and the number of steps it takes."""
    schedule = make_schedule(n, batch_size=phase.batch_size, seed=config.seed, min_valid=phase.min_valid)
    total = phase.epochs * schedule.steps_per_epoch
    return schedule, min(total, config.train.max_steps or total)


def _run_phase(
    run: _Run, phase: Phase, frozen: PyTree, previous: PyTree, images: ImageSource, *, offset: int
) -> tuple[PyTree, int]:
    """Trains one phase from its newest checkpoint or from its beginning; (state, steps of the phase)."""
    schedule, total = phase_schedule(run.config, phase, len(images))
    if schedule.skipped:
        logging.info(
            "%s: %d of %d images are left out of each epoch, another one each time: batch statistics over a single "
            "value do not exist",
            phase.name,
            schedule.skipped,
            schedule.n,
        )
    key = jax.random.key(run.config.seed)
    with Checkpoints(run.folder / "checkpoints" / phase.name) as checkpoints:
        state = phase.init(key, previous, images)
        restored = checkpoints.restore(state)
        start = 0
        if restored is not None:
            start, state = restored.step, restored.state
        if start > total:
            raise TrainingError(
                f"{phase.name}: the newest checkpoint is of step {start}, but {schedule.n} training images "
                f"make {total} steps; expected the images that the run was begun with"
            )
        if start == total:
            logging.info("%s: all %d steps were taken before", phase.name, total)
            return state, total
        logging.info("%s: steps %d to %d", phase.name, start, total)
        run.log.drop_after(offset + start)
        state = _steps(run, phase, key, frozen, state, images, schedule, checkpoints, (offset, start, total))
    return state, total


def _steps(run, phase, key, frozen, state, images, schedule, checkpoints, span) -> PyTree:
    """Steps start..total of a phase; checkpoints by the clock, at the end and when asked to stop."""
    offset, start, total = span
    group = steps_per_dispatch(run.config.train.steps_per_dispatch)
    dispatch = make_dispatch(phase.step)
    feed = run.feed(images, schedule, start=start, stop=total, group=group)
    pending: _Dispatched | None = None
    saved, settled, step = time.monotonic(), time.monotonic(), start

    def settle() -> str:
        """Waits for the last dispatch's metrics, checks and logs them; a step's seconds end where the next's begin."""
        nonlocal settled
        rows = list(_rows(pending, phase, schedule, offset))
        seconds, settled = (time.monotonic() - settled) / len(rows), time.monotonic()
        for row in rows:
            run.log.append(row | {"seconds": seconds})
        return f"loss {rows[-1]['loss']:.4f}"

    def save() -> None:
        run.log.sync()
        checkpoints.save(step, state, run.config)

    with progress_bar(f"{phase.name}", total, start=start) as advance:
        for indices, batch, valid in feed:
            state, metrics = dispatch(key, state, frozen, batch, valid)
            if pending is not None:  # one dispatch late, so that the device is never kept waiting
                advance(len(pending.indices), settle())
            pending = _Dispatched(step, indices, metrics)
            step += len(indices)
            stopping = run.stop.signal is not None
            if stopping or step == total or time.monotonic() - saved >= run.config.train.checkpoint_seconds:
                advance(len(indices), settle())
                pending = None
                save()
                saved = time.monotonic()
            if stopping:
                break
    if step < total:
        checkpoints.wait()
        logging.info("stopped by signal %d at step %d; run the same command to go on", run.stop.signal, step)
        raise SystemExit(128 + run.stop.signal)
    return state


class _Dispatched(NamedTuple):
    """Steps that were handed to the device: number of the first one, their images, and what will come of them."""

    step: int
    indices: np.ndarray
    metrics: dict[str, jax.Array]


def _rows(dispatched: _Dispatched, phase: Phase, schedule: Schedule, offset: int) -> Iterator[dict[str, Any]]:
    """A line of metrics.jsonl per step. TrainingError for a loss that is not finite, naming step and batch."""
    metrics = {name: np.asarray(values) for name, values in dispatched.metrics.items()}
    for i, batch in enumerate(dispatched.indices):
        step = dispatched.step + i
        values = {name: float(v[i]) for name, v in metrics.items()}
        if not all(np.isfinite(v) for v in values.values()):
            raise TrainingError(
                f"{phase.name}, step {step + 1}: {values}, expected finite numbers; "
                f"the batch is training images {sorted({int(j) for j in batch})}"
            )
        epoch = step // schedule.steps_per_epoch
        yield {"step": offset + step + 1, "phase": phase.name, "epoch": epoch, **values}
