"""Training on several devices and hosts: batches are divided over a mesh, all else lies on every device.

The step is that of one device. jit divides the program by where its inputs lie, so batch statistics, losses and
gradients are those of the whole batch; what differs is the order in which sums are taken. With one device, and no
other process, the mesh is None and every function here returns what it is given.
"""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from gnl_jax.training.steps import Fed

PyTree = Any
AXIS = "batch"


def join(address: str) -> None:
    """Makes this process one of several that train together; to be called before anything else of JAX.

    address: "HOST:PORT,COUNT,INDEX", where HOST:PORT is that of the process with index 0, or "auto" where the cluster
    tells (SLURM, Open MPI, Cloud TPU). Raises ValueError for anything else.
    """
    if address == "auto":
        jax.distributed.initialize()
        return
    coordinator, *numbers = address.split(",")
    count, index = (int(n) if n.strip().isdecimal() else -1 for n in (*numbers, "", "")[:2])
    if len(numbers) != 2 or ":" not in coordinator or not 0 <= index < count:
        raise ValueError(f"distributed: got {address!r}, expected HOST:PORT,COUNT,INDEX or auto")
    jax.distributed.initialize(coordinator, count, index)


def is_main_process() -> bool:
    """Whether this process writes what is written once: configuration, log, teacher."""
    return jax.process_index() == 0


def barrier(name: str) -> None:
    """Returns when every process has come to the place of this name."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def any_process(*flags: bool) -> tuple[bool, ...]:
    """For each flag whether it is raised in any process: what one decides, all do."""
    if jax.process_count() == 1:
        return flags
    return tuple(bool(any_) for any_ in np.any(multihost_utils.process_allgather(np.array(flags)), axis=0))


def make_mesh(devices: int, *, batch_size: int) -> Mesh | None:
    """A mesh of one axis over so many devices; None for one.

    Args:
        devices: 0 for all there are, of all processes; several processes need all.
        batch_size: is divided over them.

    Raises:
        ValueError: more devices than there are, or a number that the batch size is no multiple of.
    """
    there, processes = jax.device_count(), jax.process_count()
    count = devices or there
    if not 1 <= count <= there or (processes > 1 and count < there):
        also = " (0: all of them)" if processes == 1 else f", all of the {processes} processes'"
        raise ValueError(f"train.devices: got {devices}, expected {'1 to ' if processes == 1 else ''}{there}{also}")
    if count == 1:
        return None
    if batch_size % count:
        raise ValueError(f"train.batch_size: got {batch_size}, expected a multiple of the {count} devices")
    logging.info("batches of %d are divided over %d devices of %d processes", batch_size, count, processes)
    return device_mesh(count)


def device_mesh(count: int) -> Mesh:
    """The first so many devices in a row; jit finds out what has to travel between them."""
    return jax.make_mesh((count,), (AXIS,), axis_types=(AxisType.Auto,), devices=jax.devices()[:count])


def job_mesh(devices: int, jobs: int) -> Mesh | None:
    """A mesh over as many devices as divide the number of jobs, at most `devices` (0: all there are); None for one."""
    if jax.process_count() > 1:
        raise ValueError("jobs: got several processes, expected one: runs of one program have their folders to write")
    count = max(n for n in range(1, min(devices or jax.device_count(), jax.device_count(), jobs) + 1) if jobs % n == 0)
    return None if count == 1 else device_mesh(count)


def everywhere(mesh: Mesh) -> NamedSharding:
    """The placement of what every device has whole."""
    return NamedSharding(mesh, PartitionSpec())


def along(mesh: Mesh, axis: int) -> NamedSharding:
    """The placement of arrays that are divided along one axis."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, AXIS))


def replicate(mesh: Mesh | None, tree: PyTree) -> PyTree:
    """Arrays, equal in every process (which JAX checks), on every device of the mesh."""
    if mesh is None or jax.process_count() == 1:
        return tree if mesh is None else jax.device_put(tree, everywhere(mesh))

    def place(leaf):  # from the host: what lies on one process's device cannot be put on another's
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(place(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        return jax.device_put(np.asarray(leaf), everywhere(mesh))

    return jax.tree.map(place, tree)


def shard_leading_axis(mesh: Mesh | None, tree: PyTree) -> PyTree:
    """Arrays with their first axis divided over the mesh."""
    return tree if mesh is None else jax.device_put(tree, along(mesh, 0))


def collect(mesh: Mesh | None, tree: PyTree) -> PyTree:
    """Arrays from a mesh, those of one process or replicated, as ordinary ones on the default device."""
    return tree if mesh is None else jax.tree.map(lambda leaf: jax.numpy.asarray(np.asarray(leaf)), tree)


def divided(mesh: Mesh | None, batches: Fed) -> Fed:
    """Batches [g b ...], of several processes each its own rows of them, divided over the mesh along b."""
    return batches if mesh is None else _divided(along(mesh, 1), batches)


def _divided(placement: NamedSharding, batches: Fed) -> Iterator:
    def place(leaf):
        if jax.process_count() == 1:
            return jax.device_put(leaf, placement)
        return jax.make_array_from_process_local_data(placement, np.asarray(leaf))

    for indices, *batch in batches:
        yield indices, *jax.tree.map(place, batch)
