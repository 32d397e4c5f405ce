"""From good images to memory banks: two passes through the teacher, in memory that does not grow with the images.

Everything comes from the bank's own images: the references of matching, the rows, the scales and what drift is measured
against.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gnl_jax.images.views import make_views
from gnl_jax.methods.bank_options import BankOptions
from gnl_jax.methods.bank_rows import make_bank
from gnl_jax.methods.base import parts_of
from gnl_jax.methods.memory_bank import DRIFT_STAGES, at_side, embed, matched_stages
from gnl_jax.methods.scoring import Scoring, anchor_images
from gnl_jax.ops.drift import channel_deviation, middle_ranks
from gnl_jax.ops.matching import sort_features

PyTree = Any
CHUNK = 8  # images of a pass at once
DRIFT_IMAGES = 256  # whose sorted features are kept to measure how far good images deviate


class Networks(NamedTuple):
    """How the bank sees images: the teacher's module and variables, preprocessing, and the convolutions' dtype."""

    teacher: nn.Module
    variables: PyTree
    preprocess: Callable[[jax.Array], jax.Array]
    normalise: str
    dtype: Any = jnp.float32


def make_banks(networks: Networks, images, *, options: BankOptions, scoring: Scoring) -> PyTree:
    """The variables that a memory bank scores with, but for the teacher's and a region.

    Args:
        networks: how images are seen.
        images: good images, uint8 [n s s 3], or any source of them; its `parts` says which show the same part.
        options: what the banks are.
        scoring: matching, alpha, anchors and seed.

    Returns:
        {"banks", "parts"}, "drift" with two images or more, and "alpha" with a matching: see
        `memory_bank.score_batch`.

    Raises:
        ValueError: an anchor that there is none of.
    """
    references = {}
    if scoring.matching != "none":
        references = _references(networks, images, options=options, scoring=scoring)
    drawn, ranks = _patches(networks, images, references, options=options, scoring=scoring)
    parts = np.unique(parts_of(images), return_inverse=True)[1].astype(np.int32)
    banks = {
        str(i): make_bank(candidates, owners, parts, rows=rows, options=options, seed=scoring.seed)
        | ({"references": references[i]} if references else {})
        for i, (candidates, owners, rows) in enumerate(drawn)
    }
    variables = {"banks": banks, "parts": jnp.asarray(parts)}
    if scoring.matching != "none":
        variables["alpha"] = jnp.float32(scoring.alpha)
    if len(images) >= 2:
        variables["drift"] = drift_entry(ranks)
    return variables


def _chunks(images, chosen: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Chosen images in batches that all have one shape, the last one filled up, and how many count."""
    for start in range(0, len(chosen), CHUNK):
        indices = chosen[start : start + CHUNK]
        yield np.asarray(images[np.resize(indices, CHUNK)]), len(indices)


def _references(networks: Networks, images, *, options: BankOptions, scoring: Scoring) -> list[PyTree]:
    """For each bank the mean of the anchors' sorted features at the matched stages; their own path is not matched."""
    teacher, preprocess, dtype = networks.teacher, networks.preprocess, networks.dtype

    @jax.jit
    def sorted_stages(variables, batch):
        x = preprocess(batch).astype(dtype)
        found = []
        for spec in options.sizes:
            stages = teacher.apply(variables, at_side(x, spec.side(batch.shape[1])))
            found.append({str(k): sort_features(stages[k - 1]).astype(jnp.float32) for k in options.matched})
        return found

    chosen = anchor_images(len(images), anchor=scoring.anchor, k=scoring.anchors, seed=scoring.seed)
    total = None
    for batch, count in _chunks(images, chosen):
        found = sorted_stages(networks.variables, batch)
        sums = jax.tree.map(lambda a: np.asarray(a[:count], np.float64).sum(0), found)  # noqa: B023
        total = sums if total is None else jax.tree.map(np.add, total, sums)
    return jax.tree.map(lambda a: jnp.asarray(a / len(chosen), jnp.float32), total)


def _patches(networks: Networks, images, references: list[PyTree], *, options: BankOptions, scoring: Scoring):
    """([(candidates float32 [m c], owners int32 [m], rows) of each bank], {stage: ranks float32 [k r c]} for drift)."""
    seen_at = np.random.default_rng([scoring.seed, 4]).permutation(len(images))[:DRIFT_IMAGES]
    wanted, ranks = set(seen_at.tolist()), {str(stage): [] for stage in DRIFT_STAGES}
    program = _embedder(networks, options=options, scoring=scoring)
    collectors, everything = None, np.arange(len(images))
    for v, view in enumerate(("clean", *options.views)):
        start = 0
        for batch, count in _chunks(images, everything):
            embeddings, looked = program[view](networks.variables, references, batch, jnp.int32(v), jnp.int32(start))
            if collectors is None:
                shapes = [e.shape[1] * e.shape[2] for e in embeddings]
                collectors = [_Collector(n, len(images), options=options, seed=scoring.seed) for n in shapes]
            for collector, embedding in zip(collectors, embeddings, strict=True):
                collector.take(np.asarray(embedding[:count]), view=v, start=start)
            if view == "clean":
                kept = [i for i in range(count) if start + i in wanted]
                for stage, values in looked.items():
                    ranks[stage].append(np.asarray(values)[kept])
            start += count
    return [collector.result() for collector in collectors], {k: np.concatenate(v) for k, v in ranks.items()}


def _embedder(networks: Networks, *, options: BankOptions, scoring: Scoring) -> dict[str, Callable]:
    """For each view a program: (variables, references, images, view's number, first image's) -> embeddings, ranks."""
    teacher, key = networks.teacher, jax.random.key(scoring.seed)

    def run(variables, references, batch, v, start, *, view: str):
        x = networks.preprocess(batch)
        if view != "clean":
            drawn = jax.random.fold_in(jax.random.fold_in(key, v), start)
            (x,) = make_views(drawn, batch, views=(view,), normalise=networks.normalise, augmix=options.augmix)
        looked, embeddings = {}, []

        def look(stage, features):
            if str(stage) not in looked:
                looked[str(stage)] = middle_ranks(features).astype(jnp.float32)

        for i, spec in enumerate(options.sizes):
            stages = matched_stages(
                teacher,
                variables,
                at_side(x.astype(networks.dtype), spec.side(batch.shape[1])),
                matching=scoring.matching,
                matched=options.matched,
                references=references[i] if references else {},
                alpha=scoring.alpha,
                look=look,
            )
            embeddings.append(embed(stages, spec.stages, {}))
        return embeddings, looked if view == "clean" else {}

    return {view: jax.jit(functools.partial(run, view=view)) for view in ("clean", *options.views)}


class _Collector:
    """Keeps the patches that were drawn beforehand, as the images go by: [m c] however many there are."""

    def __init__(self, patches: int, images: int, *, options: BankOptions, seed: int):
        total = patches * images * (1 + len(options.views))
        self.rows = bank_rows(total, rows=options.rows)
        most = self.rows if options.coreset == "random" else max(options.candidates, self.rows)
        rng = np.random.default_rng([seed, 5])
        self.drawn = np.sort(rng.choice(total, min(most, total), replace=False))
        self.patches, self.images, self.found = patches, images, []

    def take(self, embedding: np.ndarray, *, view: int, start: int) -> None:
        """Patches [k h w c] of the images from `start` on."""
        first = (view * self.images + start) * self.patches
        flat = embedding.reshape(-1, embedding.shape[-1])
        low, high = np.searchsorted(self.drawn, [first, first + len(flat)])
        self.found.append(flat[self.drawn[low:high] - first])

    def result(self) -> tuple[np.ndarray, np.ndarray, int]:
        """(candidates [m c], the image of each, int32 [m], how many of them make the bank)."""
        owners = self.drawn // self.patches % self.images
        return np.concatenate(self.found), owners.astype(np.int32), self.rows


def bank_rows(total: int, *, rows: float) -> int:
    """How many of `total` patches make a bank: `rows` of them, or that share where it is below 1."""
    return min(max(1, int(total * rows)) if rows < 1 else int(rows), total)


def drift_entry(ranks: dict[str, np.ndarray]) -> PyTree:
    """The entry "drift" from the middle ranks of k good images, {"1": [k m1 c1], "2": [k m2 c2]}: see `make_drift`."""
    barycentre = {k: jnp.asarray(r.mean(0, dtype=np.float64), jnp.float32) for k, r in ranks.items()}
    spread = {k: jnp.asarray(channel_deviation(jnp.asarray(r), barycentre[k]).mean(0)) for k, r in ranks.items()}
    return jax.tree.map(lambda a: a[None], {"barycentre": barycentre, "spread": spread})
