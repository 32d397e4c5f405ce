"""What drift is measured against: the feature distributions of the images that were trained on."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gnl_jax.array_types import Array
from gnl_jax.batches import ImageSource, full_batches, images_of_a_pass
from gnl_jax.methods.reverse_distillation import Model
from gnl_jax.methods.scoring import match_hook
from gnl_jax.ops.drift import channel_deviation, middle_ranks

PyTree = Any
_CHUNK = 16  # images of 256x256 per pass


def make_drift(
    teacher: PyTree,
    images: ImageSource,
    *,
    model: Model,
    preprocess,
    matching: str = "none",
    references: tuple[Array, Array] | None = None,
    alpha: float | Array = 0.0,
) -> PyTree:
    """The entry "drift" of `score_batch`'s variables, from n >= 2 good images uint8 [n s s 3].

    {"barycentre": {"1": float32 [k m1 c1], "2": [k m2 c2]}, "spread": {"1": [k c1], "2": [k c2]}}, k the number of
    references (1 without matching). At each stage: the mean of the images' sorted features between the 5 % and 95 %
    ranks, and the mean deviation of the images from it, as the features are before that stage is matched. Stage 2 is
    seen behind a matched stage 1, as it is in scoring: one forward pass gives score and drift. Raises ValueError for
    fewer than two images, whose spread does not exist.
    """
    if len(images) < 2:
        raise ValueError(f"images: got {len(images)}, expected at least 2 to measure drift")

    def ranks(teacher, references, images):
        seen = {}
        match = None if references is None else match_hook(references, matching=matching, alpha=alpha)

        def hook(stage, features):
            seen[str(stage)] = middle_ranks(features).astype(jnp.promote_types(features.dtype, jnp.float32))
            return match(stage, features) if match else features

        model.teacher.apply(teacher, preprocess(images).astype(model.dtype), hook)
        return seen

    # The weights are an argument: as constants they would be worked on while the program is compiled.
    @jax.jit
    def ranks_by_reference(teacher, images):
        if references is None:
            return jax.tree.map(lambda a: a[None], ranks(teacher, None, images))
        return jax.vmap(lambda r: ranks(teacher, r, images))(references)

    @jax.jit
    def deviations(teacher, images, barycentre):
        return jax.tree.map(jax.vmap(channel_deviation), ranks_by_reference(teacher, images), barycentre)

    everything = np.arange(len(images))
    at_once = min(len(images), images_of_a_pass(images[everything[:1]].shape[1], at_most=_CHUNK))
    batches = functools.partial(full_batches, images, everything, batch_size=at_once)
    barycentre = _mean(((ranks_by_reference(teacher, batch), count) for batch, count in batches()), n=len(images))
    spread = _mean(((deviations(teacher, batch, barycentre), count) for batch, count in batches()), n=len(images))
    return {"barycentre": barycentre, "spread": spread}


def _mean(parts, *, n: int) -> PyTree:
    """The mean over n images of trees of [k b ...], of which the first images count: [k ...].

    parts: (tree, how many count) of each batch. Summed in float64 and rounded once.
    """
    total = None
    for part, count in parts:
        sums = jax.tree.map(lambda a, count=count: np.asarray(a, np.float64)[:, :count].sum(1), part)
        total = sums if total is None else jax.tree.map(np.add, total, sums)
    return jax.tree.map(lambda a: jnp.asarray(a / n, jnp.float32), total)
