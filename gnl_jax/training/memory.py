"""How many runs fit into one program, from what one takes."""

from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from gnl_jax.methods.base import Phase
from gnl_jax.methods.build import build_method, matmul_precision
from gnl_jax.methods.free_memory import free_bytes
from gnl_jax.methods.program_memory import program_bytes, tree_bytes
from gnl_jax.training.dispatch import make_dispatch, steps_per_dispatch

PyTree = Any
SHARE = 0.8  # of the free memory that may be planned for


def run_bytes(phase: Phase, frozen: PyTree, *, size: int, group: int, features: PyTree = None) -> int:
    """Device memory that one run of a phase takes: state, and what its step holds at its peak.

    Args:
        phase, frozen: as a method has them.
        size: side of the images.
        group: steps in one dispatch.
        features: of one batch, shapes [b ...], where they are computed once for all images (`Phase.precompute`).
    """
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = jax.eval_shape(lambda: phase.init(jax.random.key(0), None, None))
    images = jax.ShapeDtypeStruct((group, phase.batch_size, size, size, 3), jnp.uint8)
    valid = jax.ShapeDtypeStruct((group, phase.batch_size), jnp.bool_)
    grouped = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((group, *leaf.shape), leaf.dtype), features)
    arguments = (key, state, frozen, images, valid, grouped)
    return tree_bytes(state) + tree_bytes(grouped) + program_bytes(make_dispatch(phase.step), *arguments)[0]


def runs_that_fit(config: ConfigDict, *, images_bytes: int, budget: int | None = None) -> int:
    """How many runs of `config` may share a program, at least 1.

    images_bytes: of one run's training images, all of which live on the device. budget: bytes, by default `SHARE` of
    what is free.
    """
    most = SHARE * (free_bytes() or 0) if budget is None else budget
    method = build_method(config)
    group = steps_per_dispatch(config.train.steps_per_dispatch)
    shared = tree_bytes(method.frozen)
    with jax.default_matmul_precision(matmul_precision(config)):
        phases = (run_bytes(p, method.frozen, size=config.dataset.size, group=group) for p in method.phases)
        each = max(phases, default=0)
    return max(1, int((most - shared) // (each + images_bytes)))
