"""The three losses of generalized normality learning, one value per example (Eq. 1 to 3)."""

import functools
import operator
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from gnl_jax.array_types import Array, Stages
from gnl_jax.ops.cosine import cosine_distance


class Outputs(NamedTuple):
    """What one pass over all views of a batch leaves: the arguments of a loss.

    Attributes:
        stages: the teacher's features (E1, E2, E3); view 0 is the clean one.
        targets: what view 0 reconstructs: the teacher's clean features, unless the training step mixes features and
            keeps clean targets.
        embedding: phi.
        decoded: (D1, D2, D3), shaped as `stages`.
    """

    stages: tuple[Float[Array, "v b h w c"], ...]
    targets: tuple[Float[Array, "b h w c"], ...]
    embedding: Float[Array, "v b h w c"]
    decoded: tuple[Float[Array, "v b h w c"], ...]


Loss = Callable[[Outputs], Float[Array, "b"]]  # one value per example


class LossWeights(NamedTuple):
    """lambda of Eq. 3. Published: 0.9, 0.05, 0.05."""

    ori: float = 0.9
    abs: float = 0.05
    lowf: float = 0.05


GNL_WEIGHTS = LossWeights()


def reconstruction_loss(teacher: Stages, student: Stages) -> Float[Array, "b"]:
    """L_ori: sum over levels of the cosine distance between whole feature maps E_k and D_k.

    A sample's map is one vector here; only the score compares position by position.
    """
    return functools.reduce(operator.add, [cosine_distance(e, d) for e, d in zip(teacher, student, strict=True)])


def similarity_loss(features: Float[Array, "v b *d"], *, reduction: str) -> Float[Array, "b"]:
    """Distance of view 0 to every other view; zero where there is one view.

    Gradients flow to both sides. Eq. 1 and 2 average over the v-1 other views (`reduction` "mean");
    Published code: sums over them ("sum").
    """
    if reduction not in ("sum", "mean"):
        raise ValueError(f"reduction: got {reduction!r}, expected 'sum' or 'mean'")
    others = features.shape[0] - 1
    if others == 0:
        return jnp.zeros(features.shape[1], jnp.promote_types(features.dtype, jnp.float32))
    distances = jax.vmap(cosine_distance, in_axes=(None, 0))(features[0], features[1:])
    return distances.sum(axis=0) / (others if reduction == "mean" else 1)


def gnl_losses(*, reduction: str = "sum") -> Mapping[str, Loss]:
    """The three losses by name: "ori", "abs" and "lowf" (Eq. 1 to 3); `reduction` as for `similarity_loss`.

    A mapping with more entries, or others, is as good: `make_train_step` takes any.
    """
    return {
        "ori": lambda outputs: reconstruction_loss(outputs.targets, [d[0] for d in outputs.decoded]),
        "abs": lambda outputs: similarity_loss(outputs.embedding, reduction=reduction),
        "lowf": lambda outputs: similarity_loss(outputs.decoded[0], reduction=reduction),
    }


def masked_mean(values: Float[Array, "b"], valid: Bool[Array, "b"]) -> Float[Array, ""]:
    """Mean of values over the valid rows; 0 if there are none."""
    return jnp.sum(jnp.where(valid, values, 0)) / jnp.maximum(jnp.sum(valid), 1)
