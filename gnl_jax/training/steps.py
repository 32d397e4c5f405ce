"""Taking steps: the device is kept one dispatch ahead, what comes back is recorded, the state saved by the clock."""

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import numpy as np

from gnl_jax.progress import progress_bar
from gnl_jax.training.interrupt import StopRequest

PyTree = Any
# A feed's batches with what was computed once for their images: indices [g ...], images, valid, features or None.
Fed = Iterable[tuple[np.ndarray, np.ndarray | jax.Array, np.ndarray, PyTree]]


class TrainingError(ValueError):
    """Training cannot go on; the message says at which step and why."""


class Dispatched(NamedTuple):
    """Steps that were handed to the device: number of the first one, their images, and what will come of them."""

    step: int
    indices: np.ndarray  # int [g ...]
    metrics: dict[str, jax.Array]  # [g ...] each


def take_steps(
    dispatch: Callable[..., tuple[PyTree, dict[str, jax.Array]]],
    state: PyTree,
    feed: Fed,
    *,
    name: str,
    start: int,
    total: int,
    record: Callable[[Dispatched, float], str],
    save: Callable[[int, PyTree], None],
    stop: StopRequest,
    checkpoint_seconds: float,
    any_process: Callable[..., tuple[bool, ...]] = lambda *flags: flags,
) -> tuple[PyTree, int]:
    """Steps start..total of `feed`, or to the first one after `stop` was asked for; (state, steps taken in all).

    `dispatch(state, images, valid, features) -> (state, metrics)`. `record(dispatched, seconds of a step)` checks and
    logs what came back, one dispatch late, and returns a word for the progress bar; `save(step, state)` begins a
    checkpoint: by the clock, at the end, and before stopping, always of recorded steps. `any_process(stop, save)` is
    called after each dispatch, so that several processes do the same.
    """
    pending: Dispatched | None = None
    saved, settled, step = time.monotonic(), time.monotonic(), start

    def settle(dispatched: Dispatched) -> str:
        """Waits for the last dispatch; a step's seconds end where the next's begin."""
        nonlocal settled
        jax.block_until_ready(dispatched.metrics)
        seconds, settled = (time.monotonic() - settled) / len(dispatched.indices), time.monotonic()
        return record(dispatched, seconds)

    with progress_bar(name, total, start=start) as advance:
        for indices, images, valid, features in feed:
            state, metrics = dispatch(state, images, valid, features)
            if pending is not None:  # one dispatch late, so that the device is never kept waiting
                advance(len(pending.indices), settle(pending))
            pending = Dispatched(step, indices, metrics)
            step += len(indices)
            stopping, due = any_process(stop.signal is not None, time.monotonic() - saved >= checkpoint_seconds)
            if stopping or step == total or due:
                advance(len(indices), settle(pending))
                pending = None
                save(step, state)
                saved = time.monotonic()
            if stopping:
                break
    return state, step


def check_finite(values: dict[str, float], *, phase: str, step: int, images: np.ndarray) -> None:
    """TrainingError, naming step (from 1) and batch, unless all metrics are finite."""
    if not all(np.isfinite(value) for value in values.values()):
        raise TrainingError(
            f"{phase}, step {step}: {values}, expected finite numbers; "
            f"the batch is training images {sorted({int(i) for i in images})}"
        )
