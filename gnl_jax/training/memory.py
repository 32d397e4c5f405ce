"""How many runs fit into one program, from what the compiler says one takes."""

import os
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from gnl_jax.methods.base import Phase
from gnl_jax.methods.build import build_method, matmul_precision
from gnl_jax.training.dispatch import make_dispatch, steps_per_dispatch

PyTree = Any
SHARE = 0.8  # of the free memory that may be planned for


def free_bytes() -> int:
    """Memory of the default device that is free; where the device keeps no count (CPU), that of this machine."""
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def run_bytes(phase: Phase, frozen: PyTree, *, size: int, group: int) -> int:
    """Device memory that one run of a phase takes: state and what its compiled step holds at its peak.

    size: side of the images; group: steps in one dispatch. The step is compiled, which the compilation cache remembers.
    """
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(lambda: phase.init(jax.random.key(0), None, None))
    images = jax.ShapeDtypeStruct((group, phase.batch_size, size, size, 3), jnp.uint8)
    valid = jax.ShapeDtypeStruct((group, phase.batch_size), jnp.bool_)
    memory = make_dispatch(phase.step).lower(key, state, frozen, images, valid).compile().memory_analysis()
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)) + memory.temp_size_in_bytes


def runs_that_fit(config: ConfigDict, *, images_bytes: int, budget: int | None = None) -> int:
    """How many runs of `config` may share a program, at least 1.

    images_bytes: of one run's training images, all of which live on the device. budget: bytes, by default `SHARE` of
    what is free.
    """
    budget = SHARE * free_bytes() if budget is None else budget
    method = build_method(config)
    group = steps_per_dispatch(config.train.steps_per_dispatch)
    shared = sum(leaf.nbytes for leaf in jax.tree.leaves(method.frozen))
    with jax.default_matmul_precision(matmul_precision(config)):
        phases = (run_bytes(p, method.frozen, size=config.dataset.size, group=group) for p in method.phases)
        each = max(phases, default=0)
    return max(1, int((budget - shared) // (each + images_bytes)))
