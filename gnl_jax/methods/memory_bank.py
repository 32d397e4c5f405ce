"""A memory bank of good patches, matched at test time: nothing is trained.

A bank holds patch embeddings of good images (PatchCore). Feature matching, the paper's idea, is applied to the bank's
images and to the test image alike, so that light and style move both the same way.
"""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gnl_jax.methods.bank_options import BankOptions
from gnl_jax.methods.base import Prediction
from gnl_jax.methods.scoring import hold_region
from gnl_jax.ops.drift import channel_deviation, drift_score, middle_ranks
from gnl_jax.ops.matching import MATCHINGS
from gnl_jax.ops.nearest import nearest, reweighted_score
from gnl_jax.ops.patches import distance_map, patch_embedding
from gnl_jax.ops.pixels import PixelMoments, match_moments
from gnl_jax.ops.scoremap import image_score

PyTree = Any
DRIFT_STAGES = (1, 2)


def matched_stages(
    teacher: nn.Module,
    variables: PyTree,
    x: jax.Array,
    *,
    matching: str,
    options: BankOptions,
    references: PyTree,
    alpha: jax.Array | float,
    look: Callable[[int, jax.Array], None] = lambda stage, features: None,
) -> tuple[jax.Array, ...]:
    """The teacher's three stages, those in `options.matched` given the distribution of a reference.

    Args:
        teacher, variables: the network and its variables.
        x: images as the teacher takes them, [b s s 3].
        matching: "none" or a key of `MATCHINGS`.
        options: which stages; later ones see those before them as they are after matching.
        references: sorted features of each matched stage, {"1": [h1*w1 c1], ...}; empty without matching.
        alpha: weight of the reference in [0, 1] (Eq. 5).
        look: is shown stages 1 and 2 as they are before they are matched.
    """

    def hook(stage: int, features: jax.Array) -> jax.Array:
        if stage in DRIFT_STAGES:
            look(stage, features)
        if matching == "none" or stage not in options.matched:
            return features
        weight = options.last_alpha if stage == 3 else alpha
        with jax.named_scope("matching"):
            return MATCHINGS[matching](features, references[str(stage)], alpha=weight).astype(features.dtype)

    with jax.named_scope("teacher"):
        first, second, third = teacher.apply(variables, x, hook)
        return first, second, hook(3, third)


def at_side(x: jax.Array, side: int) -> jax.Array:
    """Images [b s s 3] at another side, smoothed as they shrink."""
    if x.shape[1] == side:
        return x
    return jax.image.resize(x, (x.shape[0], side, side, x.shape[3]), "linear")


def network_input(
    images: jax.Array, pixels: PyTree | None, *, preprocess: Callable[[jax.Array], jax.Array], dtype: Any
) -> jax.Array:
    """What the teacher takes of images in [0, 255], [b s s 3]; with `pixels`, after `match_moments` to these."""
    if pixels is not None:
        images = match_moments(images.astype(jnp.float32), PixelMoments(pixels["mean"], pixels["sigma"]))
    return preprocess(images).astype(dtype)


def embed(stages: tuple[jax.Array, ...], chosen: tuple[int, ...], bank: PyTree) -> jax.Array:
    """Patch embeddings of chosen stages, in the bank's coordinates where it has any: [b h w c]."""
    embedding = patch_embedding([stages[k - 1] for k in chosen])
    if "components" in bank:
        return (embedding - bank["centre"][None, None, None]) @ bank["components"]
    return embedding


def patches_within(region: jax.Array, grid: tuple[int, int]) -> jax.Array:
    """Which patches of a grid (h, w) see a pixel of a region bool [s s]: bool [h w]."""
    rows, columns = (jnp.arange(n) * cells // n for n, cells in zip(region.shape, grid, strict=True))
    return jnp.zeros(grid, bool).at[rows[:, None], columns[None]].max(region)


def _reweighted(embedding, distances, rows, norms, *, bank: jax.Array, neighbours: int) -> jax.Array:
    return reweighted_score(embedding, distances, rows, bank, neighbours=neighbours, half_norms=norms)


def score_batch(
    variables: PyTree,
    images: jax.Array,
    without: jax.Array | None = None,
    *,
    teacher: nn.Module,
    preprocess: Callable[[jax.Array], jax.Array],
    dtype: Any,
    options: BankOptions,
    matching: str,
) -> Prediction:
    """Score and map of images from their patches' distances to the bank, and drift.

    Args:
        variables: {"teacher", "banks": {"0": bank, ...}, "parts": int32 [n]} and, if there is one, "region", bool
            [s s]. A bank is {"rows" [m c], "half_norms" [m], "owners" int32 [m], "location", "scale"} with
            "references" and, where it is reduced, "centre" and "components". With a matching there is "alpha" and,
            where pixels are matched, "pixels", {"mean", "sigma"}. "drift" as `methods/drift.py` makes it, k = 1.
        images: uint8 [b s s 3].
        without: int32 [b], a part for each image whose patches are left out of the bank while it is scored; -1 for
            none. So images that are in the bank can be ranked as if they were not.

    Returns:
        score [b]; map [b s s]; drift [b] or None.
    """
    region = variables.get("region")
    if region is not None:
        images = hold_region(images, region)
    size, pixels = images.shape[1:3], variables.get("pixels")
    x = network_input(images, pixels, preprocess=preprocess, dtype=dtype)
    drift, deviations = variables.get("drift"), []

    def look(stage: int, features: jax.Array) -> None:
        if drift is not None and len(deviations) < len(DRIFT_STAGES):  # by the first bank's size alone
            barycentre = drift["barycentre"][str(stage)][0]
            deviations.append(channel_deviation(middle_ranks(features), barycentre))

    total, score = 0.0, None
    for i, spec in enumerate(options.sizes):
        bank = variables["banks"][str(i)]
        stages = matched_stages(
            teacher,
            variables["teacher"],
            at_side(x, spec.side(size[0])),
            matching=matching,
            options=options,
            references=bank.get("references", {}),
            alpha=variables.get("alpha", 0.0),
            look=look,
        )
        with jax.named_scope("bank"):
            embedding = embed(stages, spec.stages, bank)
            b, h, w, c = embedding.shape
            patches, norms = embedding.reshape(b, h * w, c), bank["half_norms"]
            if without is not None:
                own = variables["parts"][bank["owners"]][None] == without[:, None]
                norms = jnp.where(own, jnp.inf, norms[None])
            distances, rows = nearest(patches, bank["rows"], norms)
        with jax.named_scope("score map"):
            # One bank's distances stay distances; several are brought to one scale before they are added.
            z = (distances - bank["location"]) / bank["scale"] if len(options.sizes) > 1 else distances
            total = total + distance_map(z.reshape(b, h, w), size=size)
        if options.score == "patches":
            if region is not None:
                distances = jnp.where(patches_within(region, (h, w)).reshape(1, h * w), distances, 0)
            of_image = functools.partial(_reweighted, bank=bank["rows"], neighbours=options.neighbours)
            score = jax.vmap(of_image, in_axes=(0, 0, 0, None if norms.ndim == 1 else 0))(
                patches, distances, rows, norms
            )
    if region is not None:
        lowest = jnp.minimum(total.min((1, 2), keepdims=True), 0)  # of each image: rows stay independent
        total = jnp.where(region[None], total, lowest)
    spreads = [drift["spread"][str(stage)][0] for stage in DRIFT_STAGES] if deviations else []
    return Prediction(
        image_score(total) if score is None else score,
        total,
        drift_score(deviations, spreads) if deviations else None,
    )
