"""Views that are the same in every epoch: the teacher sees them once, not in every step. Nothing is approximated."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Float

from gnl_jax.array_types import Array
from gnl_jax.images.views import FIXED_VIEWS

PyTree = Any
ViewStages = tuple[Float[Array, "v b _ _ _"], ...]  # features [v b h w c] of views
ImageStages = tuple[Float[Array, "b f _ _ _"], ...]  # of the f fixed views, one row for each image


class ViewSplit(NamedTuple):
    """Positions of the views that never change, and of those that are drawn anew in every step."""

    fixed: tuple[int, ...]
    drawn: tuple[int, ...]


def split_views(views: Sequence[str]) -> ViewSplit:
    """The split of views by name (`images.views.VIEWS`)."""
    fixed = tuple(i for i, view in enumerate(views) if view in FIXED_VIEWS)
    return ViewSplit(fixed, tuple(i for i in range(len(views)) if i not in fixed))


def fixed_features(stages_of: Callable[[tuple[int, ...]], ViewStages], split: ViewSplit) -> ImageStages:
    """The features of the fixed views, one row for each image.

    stages_of: positions -> teacher features of those views.
    """
    return tuple(jnp.moveaxis(stage, 0, 1) for stage in stages_of(split.fixed))


def joined_stages(
    features: ImageStages, stages_of: Callable[[tuple[int, ...]], ViewStages], split: ViewSplit
) -> ViewStages:
    """The features of all views in their order: the fixed ones given, the others from the teacher."""
    drawn: Sequence[Array | tuple[Array, ...]] = stages_of(split.drawn) if split.drawn else ((),) * len(features)
    joined = []
    for fixed, other in zip(features, drawn, strict=True):
        of = {position: fixed[:, i] for i, position in enumerate(split.fixed)}
        of |= {position: other[i] for i, position in enumerate(split.drawn)}
        joined.append(jnp.stack([of[position] for position in sorted(of)]))
    return tuple(joined)
