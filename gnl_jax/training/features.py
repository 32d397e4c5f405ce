"""What a fixed teacher says of the training images, computed once and kept on the device."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from gnl_jax.batches import ImageSource
from gnl_jax.data.feed import Batches
from gnl_jax.methods.base import Phase
from gnl_jax.progress import progress_bar
from gnl_jax.training.steps import Fed

PyTree = Any


def compute_features(phase: Phase, frozen: PyTree, images: ImageSource, *, budget_mb: float) -> PyTree:
    """`phase.precompute` of all n images, a pytree of [n ...] on the device.

    None if there is nothing to compute once, or if it would take more than `budget_mb` MiB, which is logged.
    """
    if phase.precompute is None or budget_mb == 0:
        return None
    shapes = jax.eval_shape(phase.precompute, frozen, images[np.zeros(1, np.int64)])
    mb = len(images) * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes)) / 2**20
    fits = mb <= budget_mb
    how = "are computed once" if fits else "do not fit and are computed in every step"
    logging.info("features of %d training images, %.0f MiB, %s (train.feature_budget_mb is %g)",
                 len(images), mb, how, budget_mb)  # fmt: skip
    if not fits:
        return None
    features = jax.tree.map(lambda leaf: np.empty((len(images), *leaf.shape[1:]), leaf.dtype), shapes)
    precompute, b = jax.jit(phase.precompute), phase.batch_size
    with progress_bar("features", len(images)) as advance:
        for start in range(0, len(images), b):
            rows = np.minimum(np.arange(start, start + b), len(images) - 1)  # one shape: the last chunk is filled up
            chunk = precompute(frozen, images[rows])
            for whole, part in zip(jax.tree.leaves(features), jax.tree.leaves(chunk), strict=True):
                whole[start : start + b] = np.asarray(part)[: len(whole) - start]
            advance(min(b, len(images) - start))
    leaves, structure = jax.tree.flatten(features)
    del features
    # One after the other, so that they are not all there twice.
    return jax.tree.unflatten(structure, [jnp.asarray(leaves.pop(0)) for _ in range(len(leaves))])


@jax.jit
def _rows(features: PyTree, indices: jax.Array) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.take(leaf, indices, axis=0), features)


def with_features(batches: Batches, features: PyTree) -> Fed:
    """The batches of a feed with the rows of `features` that belong to them; None stays None."""
    for indices, images, valid in batches:
        yield indices, images, valid, None if features is None else _rows(features, indices)
