"""Many runs as one program: a leading job axis over the pure step, each run in its own folder as if trained alone."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from gnl_jax.config_io import config_differences, save_config
from gnl_jax.data.feed import Schedule
from gnl_jax.data.load import load_task
from gnl_jax.data.protocol import Task
from gnl_jax.methods.base import Method, Phase
from gnl_jax.methods.build import build_method, matmul_precision
from gnl_jax.training.arrays import save_arrays
from gnl_jax.training.checkpoint import Checkpoints
from gnl_jax.training.dispatch import make_dispatch, steps_per_dispatch
from gnl_jax.training.features import compute_features, with_features
from gnl_jax.training.interrupt import StopRequest, stop_request
from gnl_jax.training.loop import begin, leave, metric_rows, phase_schedule, restore_phase
from gnl_jax.training.metrics_log import MetricsLog
from gnl_jax.training.parallel import along, collect, divided, job_mesh, replicate, shard_leading_axis
from gnl_jax.training.steps import Dispatched, take_steps
from gnl_jax.training.workdir import open_workdir

PyTree = Any


class Job(NamedTuple):
    """One run among several: its own configuration, folder, images and log."""

    config: ConfigDict
    folder: Path
    images: np.ndarray
    log: MetricsLog


class Track(NamedTuple):
    """A job's way through a phase: its schedule, and the steps it has taken before and will have taken."""

    schedule: Schedule
    offset: int  # steps of earlier phases
    start: int
    total: int


def job_step(step: Callable) -> Callable:
    """`step` over a leading job axis of key, state, images, valid and features; what is frozen is shared.

    A job without a valid row keeps its state: its training is over, or has not as many steps as the others'.
    """

    def one(key, state, frozen, images, valid, features):
        new, metrics = step(key, state, frozen, images, valid, features)
        return jax.tree.map(lambda after, before: jnp.where(valid.any(), after, before), new, state), metrics

    return jax.vmap(one, in_axes=(0, 0, None, 0, 0, 0))


def train_jobs(
    configs: Sequence[ConfigDict],
    workdirs: Sequence[str | Path],
    *,
    tasks: Sequence[Task] | None = None,
    method: Method | None = None,
) -> list[int]:
    """Trains runs that differ in their data and seed alone, as one compiled program; the steps each has taken.

    Each folder is left as `train` would leave it, to rounding, and either can resume where the other stopped. The runs
    are divided over `train.devices` devices (`job_mesh`), and all training images live there. `method` as for `train`.
    Raises what `train` raises, and ValueError naming a field in which the configurations differ otherwise.
    """
    with contextlib.ExitStack() as stack:
        folders = [stack.enter_context(open_workdir(workdir)) for workdir in workdirs]
        own = method is not None
        begun = (begin(folder, config, own_method=own) for folder, config in zip(folders, configs, strict=True))
        configs, given = zip(*begun)
        check_jobs(configs)
        frozen = next((arrays for arrays in given if arrays is not None), None)
        if method is None:
            method = build_method(configs[0], frozen=frozen)
        elif frozen is not None:
            method = dataclasses.replace(method, frozen=frozen)
        tasks = tasks or [load_task(config.dataset, seed=config.seed) for config in configs]
        for config, task in zip(configs, tasks, strict=True):
            for phase in method.phases:
                phase_schedule(config, phase, len(task.train))
        for folder, config in zip(folders, configs):
            if not (folder / "frozen.safetensors").exists():
                save_arrays(folder / "frozen.safetensors", method.frozen)
            save_config(folder, config)
        if len({hashlib.sha256((folder / "frozen.safetensors").read_bytes()).digest() for folder in folders}) > 1:
            raise ValueError(f"jobs: the runs in {', '.join(map(str, folders))} have different teachers, expected one")
        images = [task.train[np.arange(len(task.train))] for task in tasks]
        logs = [stack.enter_context(contextlib.closing(MetricsLog(f / "metrics.jsonl"))) for f in folders]
        jobs = [Job(*fields) for fields in zip(configs, folders, images, logs)]
        with stop_request() as stop, jax.default_matmul_precision(matmul_precision(configs[0])):
            states, steps = [None] * len(jobs), [0] * len(jobs)
            for phase in method.phases:
                states, steps = _run_phase(jobs, phase, method.frozen, states, steps, stop)
    return steps


def check_jobs(configs: Sequence[ConfigDict]) -> None:
    """ValueError naming the first field, other than the data's and the seed, in which configurations differ."""
    for config in configs[1:]:
        for name, one, other in config_differences(configs[0], config):
            theirs = name == "seed" or name.startswith(("dataset.", "eval."))
            if not theirs or name == "dataset.size":
                raise ValueError(f"jobs: {name} is {one} in one and {other} in another, expected one value for all")


def _run_phase(jobs: Sequence[Job], phase: Phase, frozen, previous, offsets, stop: StopRequest):
    """One phase of all jobs, from their newest checkpoints; (states, steps of all phases so far)."""
    with contextlib.ExitStack() as stack:
        checkpoints = [stack.enter_context(Checkpoints(job.folder / "checkpoints" / phase.name)) for job in jobs]
        states, tracks = [], []
        for job, saved, before, offset in zip(jobs, checkpoints, previous, offsets):
            schedule, total = phase_schedule(job.config, phase, len(job.images))
            start, state = restore_phase(phase, job.config, before, job.images, saved, schedule=schedule, total=total)
            if start < total:
                job.log.drop_after(offset + start)
            states.append(state)
            tracks.append(Track(schedule, offset, start, total))
        if any(track.start < track.total for track in tracks):
            states = _steps(jobs, phase, frozen, states, tracks, checkpoints, stop)
    return states, [track.offset + track.total for track in tracks]


def _steps(jobs, phase, frozen, states, tracks: Sequence[Track], checkpoints, stop) -> list[PyTree]:
    """The steps that are left, job by job its own, in lockstep until the longest is over."""
    train = jobs[0].config.train
    mesh = job_mesh(train.devices, len(jobs))
    keys = shard_leading_axis(mesh, jnp.stack([jax.random.key(job.config.seed) for job in jobs]))
    dispatch = make_dispatch(job_step(phase.step), placement=mesh and (along(mesh, 0), along(mesh, 1)))
    images = np.concatenate([job.images for job in jobs])
    features = compute_features(phase, frozen, images, budget_mb=train.feature_budget_mb)
    newest = [track.start for track in tracks]
    longest = max(track.total - track.start for track in tracks)
    logging.info("%s: %d jobs in one program, up to %d steps each", phase.name, len(jobs), longest)

    def record(dispatched: Dispatched, seconds: float) -> str:
        rows = []
        for j, track in enumerate(tracks):
            step = track.start + dispatched.step
            own = slice(max(0, min(len(dispatched.indices), track.total - step)))
            mine = Dispatched(step, dispatched.indices[own, j], {k: v[own, j] for k, v in dispatched.metrics.items()})
            rows.append(list(metric_rows(mine, phase, track.schedule, track.offset)))
        for job, logged in zip(jobs, rows):  # all are checked before one is logged
            for row in logged:
                job.log.append(row | {"seconds": seconds / len(jobs)})
        return f"loss {np.mean([row['loss'] for logged in rows for row in logged]):.4f}"

    def save(step: int, state: PyTree) -> None:
        for j, (job, track) in enumerate(zip(jobs, tracks)):
            at = min(track.start + step, track.total)
            if at > newest[j]:
                job.log.sync()
                checkpoints[j].save(at, jax.tree.map(lambda leaf: leaf[j], state), job.config)  # noqa: B023
                newest[j] = at

    group = steps_per_dispatch(train.steps_per_dispatch)
    frozen = replicate(mesh, frozen)
    stacked, step = take_steps(
        lambda state, *batch: dispatch(keys, state, frozen, *batch),
        shard_leading_axis(mesh, jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)),
        divided(mesh, with_features(_feed(images, [len(job.images) for job in jobs], tracks, group=group), features)),
        name=f"{phase.name}, {len(jobs)} jobs",
        start=0,
        total=longest,
        record=record,
        save=save,
        stop=stop,
        checkpoint_seconds=train.checkpoint_seconds,
    )
    if step < longest:
        for saved in checkpoints:
            saved.wait()
        leave(stop, step)
    stacked = collect(mesh, stacked)
    return [jax.tree.map(lambda leaf: leaf[j], stacked) for j in range(len(jobs))]  # noqa: B023


def _feed(images: np.ndarray, counts: Sequence[int], tracks: Sequence[Track], *, group: int) -> Iterator:
    """Batches of all jobs, (indices [g k b] into `images`, images, valid); rows of a job that is over are not valid."""
    resident = jax.device_put(images)
    gather = jax.jit(lambda images, indices: jnp.take(images, indices, axis=0))
    first = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int32)
    longest = max(track.total - track.start for track in tracks)

    def batch(track: Track, step: int) -> tuple[np.ndarray, np.ndarray]:
        indices, valid = track.schedule.batch(min(track.start + step, track.total - 1))
        return indices, valid & (track.start + step < track.total)

    for start in range(0, longest, group):
        steps = range(start, min(start + group, longest))
        indices, valid = (
            np.stack(part) for part in zip(*(zip(*(batch(track, step) for track in tracks)) for step in steps))
        )
        indices = indices + first[None, :, None]
        yield indices, gather(resident, indices), valid
