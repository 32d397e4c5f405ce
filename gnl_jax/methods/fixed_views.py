"""Views that are the same in every epoch: the teacher sees them once, not in every step. Nothing is approximated."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gnl_jax.images.views import FIXED_VIEWS

PyTree = Any
Stages = tuple[jax.Array, ...]


class ViewSplit(NamedTuple):
    """Positions of the views that never change, and of those that are drawn anew in every step."""

    fixed: tuple[int, ...]
    drawn: tuple[int, ...]


def split_views(views: Sequence[str]) -> ViewSplit:
    """The split of views by name (`images.views.VIEWS`)."""
    fixed = tuple(i for i, view in enumerate(views) if view in FIXED_VIEWS)
    return ViewSplit(fixed, tuple(i for i in range(len(views)) if i not in fixed))


def fixed_features(stages_of: Callable[[tuple[int, ...]], Stages], split: ViewSplit) -> Stages:
    """The features of the fixed views, one row for each image: each [b f h w c].

    stages_of: positions -> teacher features of those views, each [v b h w c].
    """
    return tuple(jnp.moveaxis(stage, 0, 1) for stage in stages_of(split.fixed))


def joined_stages(features: Stages, stages_of: Callable[[tuple[int, ...]], Stages], split: ViewSplit) -> Stages:
    """The features of all views in their order, each [v b h w c]: the fixed ones given, the others from the teacher."""
    drawn = stages_of(split.drawn) if split.drawn else (None,) * len(features)
    joined = []
    for fixed, other in zip(features, drawn, strict=True):
        of = {position: fixed[:, i] for i, position in enumerate(split.fixed)}
        of |= {position: other[i] for i, position in enumerate(split.drawn)}
        joined.append(jnp.stack([of[position] for position in sorted(of)]))
    return tuple(joined)
