"""Which images each training step sees, and how they reach the device."""

import functools
import importlib.util
import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from gnl_jax.batches import ImageSource, steps_per_epoch
from gnl_jax.machine import usable_cores

Batches = Iterator[tuple[np.ndarray, np.ndarray | jax.Array, np.ndarray]]


class Schedule(NamedTuple):
    """The batches of a run, each a pure function of (seed, step): no iterator state has to be saved.

    n images in batches of `batch_size`, a new order every epoch. The last batch of an epoch is filled up with its own
    first image in rows that are not valid; with fewer than `min_valid` valid rows it is left out.
    """

    n: int
    batch_size: int
    seed: int
    min_valid: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one epoch."""
        return steps_per_epoch(self.n, batch_size=self.batch_size, min_valid=self.min_valid)

    @property
    def skipped(self) -> int:
        """Images of an epoch that no batch holds: a remainder too small for batch statistics."""
        return max(0, self.n - self.steps_per_epoch * self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        """Positions of all n images in the order of an epoch, int64 [n]."""
        return np.random.default_rng([self.seed, epoch]).permutation(self.n)

    def batch(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """(indices int32 [b], valid bool [b]) of a step."""
        epoch, i = divmod(step, self.steps_per_epoch)
        batch = _order(self, epoch)[i * self.batch_size : (i + 1) * self.batch_size]
        valid = np.arange(self.batch_size) < len(batch)
        fill = np.repeat(batch[:1], self.batch_size - len(batch))
        return np.concatenate([batch, fill]), valid

    def batches(self, start: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The batches of step `start` and every one after it, without end."""
        return map(self.batch, itertools.count(start))


@functools.lru_cache(maxsize=4)  # steps follow each other: an epoch's order is drawn once
def _order(schedule: Schedule, epoch: int) -> np.ndarray:
    return schedule.order(epoch).astype(np.int32)


def even_batch(n: int, *, at_most: int) -> int:
    """The batch size that takes n images in as many steps as batches of `at_most` would, with the least left over.

    A step takes as long however few of its rows are valid.
    """
    return math.ceil(n / math.ceil(n / at_most)) if at_most > 0 else at_most  # `make_schedule` refuses the latter


def make_schedule(n: int, *, batch_size: int, seed: int, min_valid: int = 1) -> Schedule:
    """A schedule for n images. Raises ValueError if there is not one batch in an epoch, or nothing to learn from."""
    if n == 0:
        raise ValueError("training images: got none, expected at least one")
    if batch_size < 1:
        raise ValueError(f"train.batch_size: got {batch_size}, expected at least 1")
    if batch_size < min_valid:
        raise ValueError(
            f"train.batch_size: got {batch_size}, expected at least {min_valid} at this size, for batch statistics"
        )
    schedule = Schedule(n, batch_size, seed, min_valid)
    if schedule.steps_per_epoch == 0:
        raise ValueError(f"training images: got {n}, expected at least {min_valid} at this size, for batch statistics")
    return schedule


def choose_feed(images: ImageSource, *, feed: str, budget_mb: float) -> Callable[..., Batches]:
    """The feed of a name in `FEEDS`; for "auto", `device_feed` if the images take at most `budget_mb` MiB.

    The choice is logged. Both give the same batches, and training with them the same bits.

    Raises:
        ValueError: another name, the choices are listed; or no package to stream with.
    """
    if feed not in ("auto", *FEEDS):
        raise ValueError(f"train.feed: got {feed!r}, expected one of {', '.join(['auto', *FEEDS])}")
    mb = len(images) * images[np.zeros(1, np.int64)].nbytes / 2**20
    chosen = feed if feed != "auto" else "device" if mb <= budget_mb else "stream"
    if chosen == "stream" and not importlib.util.find_spec("grain"):
        raise ValueError(f"train.feed: streaming {mb:.0f} MiB of images needs the package grain, pip install grain")
    how = {"device": "live on the device", "stream": "are streamed to the device"}[chosen]
    why = f"train.device_budget_mb is {budget_mb:g}" if feed == "auto" else f"train.feed is {feed}"
    logging.info("%d training images of %.1f MiB in all %s (%s)", len(images), mb, how, why)
    return FEEDS[chosen]


def process_rows(batch_size: int, *, process_index: int, process_count: int) -> slice:
    """The rows of a batch that one of several processes feeds: contiguous, in the order of the processes.

    Raises:
        ValueError: a batch size that the processes do not divide, or no such process.
    """
    if batch_size % process_count:
        raise ValueError(f"train.batch_size: got {batch_size}, expected a multiple of the {process_count} processes")
    if not 0 <= process_index < process_count:
        raise ValueError(f"process_index: got {process_index}, expected one of {process_count} processes")
    share = batch_size // process_count
    return slice(process_index * share, (process_index + 1) * share)


@jax.jit
def _gather(images: jax.Array, indices: jax.Array) -> jax.Array:
    return jnp.take(images, indices, axis=0)


def device_feed(
    images: ImageSource,
    schedule: Schedule,
    *,
    start: int,
    stop: int,
    group: int = 1,
    process_index: int = 0,
    process_count: int = 1,
) -> Batches:
    """Batches of steps start..stop-1 from a training set that lives on the device, in groups of `group` steps.

    Yields (indices int32 [g b], images uint8 [g b s s 3] on the device, valid bool [g b]); the last group is shorter
    where the steps do not divide. Of several processes each gets its own rows of a batch (`process_rows`). Gathering
    is its own small program, so the training step does not depend on n.
    """
    rows = process_rows(schedule.batch_size, process_index=process_index, process_count=process_count)
    resident = jax.device_put(images if isinstance(images, np.ndarray) else images[np.arange(len(images))])
    batches = schedule.batches(start)
    while start < stop:
        size = min(group, stop - start)
        indices, valid = (np.stack(part)[:, rows] for part in zip(*itertools.islice(batches, size), strict=True))
        yield indices, _gather(resident, indices), valid
        start += size


def stream_feed(
    images: ImageSource,
    schedule: Schedule,
    *,
    start: int,
    stop: int,
    group: int = 1,
    process_index: int = 0,
    process_count: int = 1,
    workers: int | None = None,
) -> Batches:
    """The batches of `device_feed`, read from any `ImageSource` while training goes on; nothing else stays in memory.

    workers: threads that read a batch each, ahead of time; None for the number of usable processor cores. Decoding and
    hashing release the interpreter lock. Their errors are raised here, when the batch is due.
    """
    import grain

    rows = process_rows(schedule.batch_size, process_index=process_index, process_count=process_count)

    def read(step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        indices, valid = (part[rows] for part in schedule.batch(int(step)))
        return indices, images[indices], valid

    workers = workers or usable_cores()
    options = grain.ReadOptions(num_threads=workers, prefetch_buffer_size=2 * workers)
    batches = iter(grain.MapDataset.range(start, stop).map(read).to_iter_dataset(options))
    while start < stop:
        size = min(group, stop - start)
        indices, batch, valid = (np.stack(part) for part in zip(*itertools.islice(batches, size), strict=True))
        yield indices, jax.device_put(batch), valid
        start += size


FEEDS: dict[str, Callable[..., Batches]] = {"device": device_feed, "stream": stream_feed}
