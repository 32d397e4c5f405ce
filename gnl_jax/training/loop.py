"""Training: phases of a method over a task, resumable at any step with the same result to the last bit."""

import dataclasses
import math
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from gnl_jax.batches import ImageSource
from gnl_jax.config_io import load_config, save_config
from gnl_jax.data.feed import Batches, Schedule, choose_feed, make_schedule
from gnl_jax.data.load import load_task
from gnl_jax.data.protocol import Task
from gnl_jax.methods.base import Method, Phase
from gnl_jax.methods.build import build_method, matmul_precision, system_of
from gnl_jax.methods.scoring import anchor_images
from gnl_jax.nn.pretrained import resolve_source
from gnl_jax.nn.teachers import teacher_record
from gnl_jax.training.arrays import load_arrays, save_arrays
from gnl_jax.training.checkpoint import Checkpoints
from gnl_jax.training.dispatch import make_dispatch, steps_per_dispatch
from gnl_jax.training.features import compute_features, with_features
from gnl_jax.training.interrupt import StopRequest, stop_request
from gnl_jax.training.metrics_log import MetricsLog, NoLog
from gnl_jax.training.parallel import (
    any_process,
    barrier,
    collect,
    divided,
    everywhere,
    is_main_process,
    make_mesh,
    replicate,
)
from gnl_jax.training.steps import Dispatched, TrainingError, check_finite, take_steps
from gnl_jax.training.workdir import check_resume, open_workdir

PyTree = Any


class Trained(NamedTuple):
    """A finished run: its method (scoring included), the last phase's state, and the steps taken in all."""

    method: Method
    state: PyTree
    steps: int


def train(
    config: ConfigDict, workdir: str | Path, *, task: Task | None = None, method: Method | None = None
) -> Trained:
    """Trains what `config` describes into `workdir`, or resumes from the last checkpoint there.

    `task`: the images, by default those of `config.dataset`. `method`: one of your own instead of the configuration's;
    `config` still says seed, precision and how to train. A method without phases is trained at once.

    Writes config.json, frozen.safetensors (the teacher), metrics.jsonl and checkpoints/. Several processes
    (`parallel.join`) call it alike, on a folder that all of them see. Raises ValueError for a configuration or folder
    that cannot be used, TrainingError for a loss that is not finite; SystemExit(128 + signal) after a checkpoint when
    asked to stop by SIGTERM or Ctrl-C.
    """
    with open_workdir(workdir, shared=not is_main_process()) as folder:
        config, frozen = begin(folder, config, own_method=method is not None)
        if method is None:
            method = build_method(config, frozen=frozen)
        elif frozen is not None:
            method = dataclasses.replace(method, frozen=frozen)
        if task is None:
            task = load_task(config.dataset, seed=config.seed)
        for phase in method.phases:
            phase_schedule(config, phase, len(task.train))
        anchor_images(len(task.train), anchor=config.eval.anchor, k=config.eval.anchors, seed=config.seed)
        feed = choose_feed(task.train, feed=config.train.feed, budget_mb=config.train.device_budget_mb)
        batch_size = math.gcd(*(phase.batch_size for phase in method.phases))
        mesh = make_mesh(config.train.devices, batch_size=batch_size) if method.phases else None
        barrier("the run can begin")
        # Everything that can be wrong with the configuration has been found by now: the folder may be begun.
        if is_main_process():
            if frozen is None:
                save_arrays(folder / "frozen.safetensors", method.frozen)
            save_config(folder, config)
        log = MetricsLog(folder / "metrics.jsonl") if is_main_process() else NoLog()
        try:
            with stop_request() as stop, jax.default_matmul_precision(matmul_precision(config)):
                run = _Run(config, folder, log, stop, feed, mesh)
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
    log: MetricsLog | NoLog
    stop: StopRequest
    feed: Callable[..., Batches]
    mesh: jax.sharding.Mesh | None


def begin(folder: Path, config: ConfigDict, *, own_method: bool = False) -> tuple[ConfigDict, PyTree | None]:
    """Checks or writes the folder's config; the config in force, and the frozen arrays if the folder has them.

    Where the weights come from is resolved once, when the run begins; to resume, nobody has to say it again.
    `own_method`: the method is not the configuration's, so that its teacher plays no part.
    """
    config = config.copy_and_resolve_references()
    begun = (folder / "config.json").exists()
    taught = not own_method and system_of(config).teachers is not None
    if begun:
        saved = load_config(folder)
        config.teacher.weights = config.teacher.weights or saved.teacher.weights
        check_resume(saved, config)
    elif taught:
        config.teacher.weights = resolve_source(config.teacher.weights, config.teacher.arch)
    if taught and config.teacher.weights == "random":
        logging.info(
            "the teacher is random: fit for a demonstration and for tests. "
            "--config.teacher.weights=%s (or a file) uses trained weights",
            teacher_record(config.teacher.arch).source,
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
        start, state = restore_phase(
            phase, run.config, previous, images, checkpoints, schedule=schedule, total=total, mesh=run.mesh
        )
        if start == total:
            logging.info("%s: all %d steps were taken before", phase.name, total)
            return collect(run.mesh, state), total
        logging.info("%s: steps %d to %d", phase.name, start, total)
        run.log.drop_after(offset + start)
        state = _steps(run, phase, key, frozen, state, images, schedule, checkpoints, (offset, start, total))
    return collect(run.mesh, state), total


def restore_phase(
    phase: Phase,
    config: ConfigDict,
    previous: PyTree,
    images: ImageSource,
    checkpoints: Checkpoints,
    *,
    schedule: Schedule,
    total: int,
    mesh: jax.sharding.Mesh | None = None,
) -> tuple[int, PyTree]:
    """(steps taken, state on the mesh): the newest checkpoint's, or none and the phase's beginning."""
    state = replicate(mesh, phase.init(jax.random.key(config.seed), previous, images))
    restored = checkpoints.restore(state)
    if restored is None:
        return 0, state
    if restored.step > total:
        raise TrainingError(
            f"{phase.name}: the newest checkpoint is of step {restored.step}, but {schedule.n} training images "
            f"make {total} steps; expected the images that the run was begun with"
        )
    return restored.step, restored.state


def _steps(run, phase, key, frozen, state, images, schedule, checkpoints, span) -> PyTree:
    """Steps start..total of a phase; checkpoints by the clock, at the end and when asked to stop."""
    offset, start, total = span
    group = steps_per_dispatch(run.config.train.steps_per_dispatch)
    dispatch = make_dispatch(phase.step, placement=run.mesh and everywhere(run.mesh))
    features = compute_features(phase, frozen, images, budget_mb=run.config.train.feature_budget_mb)

    def record(dispatched: Dispatched, seconds: float) -> str:
        rows = list(metric_rows(dispatched, phase, schedule, offset))  # all are checked before one is logged
        for row in rows:
            run.log.append(row | {"seconds": seconds})
        return f"loss {rows[-1]['loss']:.4f}"

    def save(step: int, state: PyTree) -> None:
        run.log.sync()
        checkpoints.save(step, state, run.config)

    of_process = {"process_index": jax.process_index(), "process_count": jax.process_count()}
    batches = with_features(run.feed(images, schedule, start=start, stop=total, group=group, **of_process), features)
    key, frozen = replicate(run.mesh, (key, frozen))
    state, step = take_steps(
        lambda state, *batch: dispatch(key, state, frozen, *batch),
        state,
        divided(run.mesh, batches),
        name=phase.name,
        start=start,
        total=total,
        record=record,
        save=save,
        stop=run.stop,
        checkpoint_seconds=run.config.train.checkpoint_seconds,
        any_process=any_process,
    )
    if step < total:
        checkpoints.wait()
        leave(run.stop, step)
    return state


def leave(stop: StopRequest, step: int) -> None:
    """Ends the program as the signal asks it to, be it another process's."""
    number = stop.signal or signal.SIGTERM
    logging.info("stopped by signal %d at step %d; run the same command to resume", number, step)
    raise SystemExit(128 + number)


def metric_rows(dispatched: Dispatched, phase: Phase, schedule: Schedule, offset: int) -> Iterator[dict[str, Any]]:
    """A line of metrics.jsonl per step. TrainingError for a metric that is not finite, naming step and batch."""
    metrics = {name: np.asarray(values) for name, values in dispatched.metrics.items()}
    for i, batch in enumerate(dispatched.indices):
        step = dispatched.step + i
        values = {name: float(v[i]) for name, v in metrics.items()}
        check_finite(values, phase=phase.name, step=step + 1, images=batch)
        epoch = step // schedule.steps_per_epoch
        yield {"step": offset + step + 1, "phase": phase.name, "epoch": epoch, **values}
