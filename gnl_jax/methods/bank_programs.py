"""The compiled programs that make a memory bank: what an image's views, references and patches are."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gnl_jax.methods.bank_options import BankOptions
from gnl_jax.methods.bank_views import BANK_VIEWS, view_keys
from gnl_jax.methods.memory_bank import at_side, embed, matched_stages, network_input
from gnl_jax.methods.scoring import Scoring
from gnl_jax.nn.apply import outputs
from gnl_jax.ops.drift import middle_ranks
from gnl_jax.ops.matching import sort_features

PyTree = Any


class Networks(NamedTuple):
    """How the bank sees images: the teacher's module and variables, preprocessing, and the convolutions' dtype."""

    teacher: nn.Module
    variables: PyTree
    preprocess: Callable[[jax.Array], jax.Array]
    dtype: Any = jnp.float32


def reference_program(networks: Networks, pixels: PyTree | None, *, options: BankOptions) -> jax.stages.Wrapped:
    """A program: (variables, images) -> for each bank the images' sorted features at the matched stages."""
    teacher = networks.teacher

    @jax.jit
    def sorted_stages(variables, batch):
        x = network_input(batch, pixels, preprocess=networks.preprocess, dtype=networks.dtype)
        found = []
        for spec in options.sizes:
            stages = outputs(teacher, variables, at_side(x, spec.side(batch.shape[1])))
            found.append({str(k): sort_features(stages[k - 1]).astype(jnp.float32) for k in options.matched})
        return found

    return sorted_stages


def view_programs(options: BankOptions, scoring: Scoring) -> dict[str, Callable]:
    """For each view a program: (images uint8 [b s s 3], view's number, first, start) -> float32 [b s s 3].

    first, start: as for `view_keys`.
    """
    key = jax.random.key(scoring.seed)

    def see(batch, v, first, start, *, view: str):
        drawn = view_keys(jax.random.fold_in(key, v), first=first, start=start, n=len(batch))
        return BANK_VIEWS[view](drawn, batch, options).astype(jnp.float32)

    seen = {view: jax.jit(functools.partial(see, view=view)) for view in options.views}
    return {"clean": lambda batch, *_: np.asarray(batch, np.float32)} | seen


def patch_program(
    networks: Networks, pixels: PyTree | None, *, options: BankOptions, scoring: Scoring
) -> jax.stages.Wrapped:
    """A program: (variables, references, images float32 [b s s 3]) -> embeddings, stages that drift is measured at.

    One for all views: compiling it is much of the time that a bank of few images takes.
    """

    @jax.jit
    def run(variables, references, seen):
        x = network_input(seen, pixels, preprocess=networks.preprocess, dtype=networks.dtype)
        stages_of, embeddings = {}, []
        for i, spec in enumerate(options.sizes):
            side = spec.side(seen.shape[1])
            if side not in stages_of:
                stages_of[side] = matched_stages(
                    networks.teacher,
                    variables,
                    at_side(x, side),
                    matching=scoring.matching,
                    options=options,
                    references=references[i] if references else {},
                    alpha=scoring.alpha,
                )
            embeddings.append(embed(stages_of[side].matched, spec.stages, {}, options=options))
        before = next(iter(stages_of.values())).before
        return embeddings, {str(k): before[k - 1] for k in options.drift}

    return run


@jax.jit
def stage_ranks(stages: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The middle ranks of stages, {"1": [b h1 w1 c1], ...} -> float32 {"1": [b r1 c1], ...}."""
    return {k: middle_ranks(stage).astype(jnp.float32) for k, stage in stages.items()}
