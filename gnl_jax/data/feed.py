"""Which images each training step sees, and how they reach the device."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


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
        whole, rest = divmod(self.n, self.batch_size)
        return whole + (rest >= self.min_valid and rest > 0)

    @property
    def skipped(self) -> int:
        """Images of an epoch that no batch holds: a remainder too small for batch statistics."""
        return max(0, self.n - self.steps_per_epoch * self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(self.n)

    def batches(self, start: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(indices int32 [b], valid bool [b]) of step `start` and every one after it, without end."""
        epoch, first = divmod(start, self.steps_per_epoch)
        while True:
            order = self.order(epoch).astype(np.int32)
            for i in range(first, self.steps_per_epoch):
                batch = order[i * self.batch_size : (i + 1) * self.batch_size]
                valid = np.arange(self.batch_size) < len(batch)
                fill = np.repeat(batch[:1], self.batch_size - len(batch))
                yield np.concatenate([batch, fill]), valid
            epoch, first = epoch + 1, 0


def make_schedule(n: int, *, batch_size: int, seed: int, min_valid: int = 1) -> Schedule:
    """A schedule for n images. Raises ValueError if there is not one batch in an epoch, or nothing to learn from."""
    if n == 0:
        raise ValueError("training images: got none, expected at least one")
    if batch_size < 1:
        raise ValueError(f"train.batch_size: got {batch_size}, expected at least 1")
    if batch_size < min_valid:
        raise ValueError(
            f"train.batch_size: got {batch_size}, expected at least {min_valid}: "
            "at this image size batch statistics need so many images"
        )
    schedule = Schedule(n, batch_size, seed, min_valid)
    if schedule.steps_per_epoch == 0:
        raise ValueError(
            f"training images: got {n}, expected at least {min_valid}: at this image size batch statistics need so many"
        )
    return schedule


@jax.jit
def _gather(images: jax.Array, indices: jax.Array) -> jax.Array:
    return jnp.take(images, indices, axis=0)


def device_feed(
    images: np.ndarray, schedule: Schedule, *, start: int, stop: int, group: int = 1
) -> Iterator[tuple[np.ndarray, jax.Array, np.ndarray]]:
    """Batches of steps start..stop-1 from a training set that lives on the device, in groups of `group` steps.

    Yields (indices int32 [g b], images uint8 [g b s s 3] on the device, valid bool [g b]); the last group is shorter
    where the steps do not divide. Gathering is its own small program, so the training step does not depend on n.
    """
    resident = jax.device_put(images)
    batches = schedule.batches(start)
    while start < stop:
        size = min(group, stop - start)
        indices, valid = (np.stack(part) for part in zip(*(next(batches) for _ in range(size)), strict=True))
        yield indices, _gather(resident, indices), valid
        start += size
