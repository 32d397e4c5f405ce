"""A memory bank of good patches, matched at test time: nothing is trained.

A bank holds patch embeddings of good images (PatchCore). Feature matching, the paper's idea, is applied to the bank's
images and to the test image alike, so that light and style move both the same way.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int32, Real, UInt8

from gnl_jax.array_types import Array, Scalar
from gnl_jax.methods.bank_options import BankOptions
from gnl_jax.methods.base import Prediction
from gnl_jax.methods.scoring import hold_region
from gnl_jax.nn.apply import outputs
from gnl_jax.ops.drift import channel_deviation, drift_score, middle_ranks
from gnl_jax.ops.kept_value import kept_value
from gnl_jax.ops.matching import MATCHINGS
from gnl_jax.ops.nearest import DISTANCES, nearest, reweighted_score, top_mean
from gnl_jax.ops.patches import EMBEDDINGS, distance_map
from gnl_jax.ops.pixels import PixelBounds, PixelMoments, match_moments
from gnl_jax.ops.scoremap import image_score

PyTree = Any


class Stages(NamedTuple):
    """The teacher's stages: after matching, and as each was before it was matched itself.

    Where the class token is embedded, `matched` are the class tokens of the stages, [b 1 1 c].
    """

    matched: tuple[Float[Array, "b h w c"], ...]
    before: tuple[Float[Array, "b h w c"], ...]


def matched_stages(
    teacher: nn.Module,
    variables: PyTree,
    x: Float[Array, "b s s 3"],
    *,
    matching: str,
    options: BankOptions,
    references: PyTree,
    alpha: Scalar,
) -> Stages:
    """The teacher's stages, those in `options.matched` given the distribution of a reference.

    Args:
        teacher, variables: the network, whose hook is called for every stage but the last, and its variables.
        x: images as the teacher takes them.
        matching: "none" or a key of `MATCHINGS`.
        options: which stages; later ones see those before them as they are after matching.
        references: sorted features of each matched stage, {"1": [h1*w1 c1], ...}; empty without matching.
        alpha: weight of the reference in [0, 1] (Eq. 5).
    """
    before = []

    def hook(stage: int, features: Float[Array, "b h w c"], weight: Scalar = alpha) -> Float[Array, "b h w c"]:
        before.append(features)
        if matching == "none" or stage not in options.matched:
            return features
        with jax.named_scope("matching"):
            matched = MATCHINGS[matching](features, references[str(stage)], alpha=weight)
            return kept_value(matched.astype(features.dtype))

    with jax.named_scope("teacher"):
        if options.embedding == "class":
            return Stages(outputs(teacher, variables, x, hook, method="classes"), tuple(before))
        *earlier, last = outputs(teacher, variables, x, hook)
        return Stages((*earlier, hook(len(earlier) + 1, last, options.last_alpha)), tuple(before))


def at_side(x: Float[Array, "b s s 3"], side: int) -> Float[Array, "b {side} {side} 3"]:
    """Images at another side in pixels, smoothed as they shrink."""
    if x.shape[1] == side:
        return x
    return jax.image.resize(x, (x.shape[0], side, side, x.shape[3]), "linear")


def network_input(
    images: Real[Array, "b s s 3"], pixels: PyTree | None, *, preprocess: Callable[[Array], Array], dtype: Any
) -> Float[Array, "b s s 3"]:
    """What the teacher takes of images in [0, 255]; with `pixels`, after `match_moments` to these."""
    if pixels is not None:
        images = match_moments(images.astype(jnp.float32), pixel_bounds(pixels))
    return preprocess(images).astype(dtype)


def pixel_bounds(pixels: PyTree) -> PixelBounds:
    """Of a bank's entry "pixels": {"mean", "sigma"}, one reference for all, or these of "least" and of "most"."""
    least, most = (PixelMoments(**pixels.get(name, pixels)) for name in ("least", "most"))
    return PixelBounds(least, most)


def embed(
    stages: tuple[Float[Array, "b _ _ _"], ...], chosen: tuple[int, ...], bank: PyTree, *, options: BankOptions
) -> Float[Array, "b h w c"]:
    """Embeddings of chosen stages, in the bank's coordinates where it has any; of whole images [b 1 1 c]."""
    embedding = EMBEDDINGS[options.embedding]([stages[k - 1] for k in chosen])
    embedding = DISTANCES[options.distance].prepare(embedding)
    if "components" in bank:
        return (embedding - bank["centre"][None, None, None]) @ bank["components"]
    return embedding


def patches_within(region: Bool[Array, "s s"], grid: tuple[int, int]) -> Bool[Array, "{grid[0]} {grid[1]}"]:
    """Which patches of a grid (h, w) see a pixel of a region."""
    rows, columns = (jnp.arange(n) * cells // n for n, cells in zip(region.shape, grid, strict=True))
    return jnp.zeros(grid, bool).at[rows[:, None], columns[None]].max(region)


def _reweighted(embedding, distances, rows, norms, *, bank: Array, neighbours: int) -> Array:
    return reweighted_score(embedding, distances, rows, bank, neighbours=neighbours, half_norms=norms)


class BankScores(NamedTuple):
    """What banks say of images.

    Attributes:
        map: the sum of their maps; of banks of whole images that of their distances.
        worst: the image score of the patches' distances themselves; None unless it was requested.
        drift: None where it is not measured.
        stages: of the teacher, by the side of the images it saw.
    """

    map: Float[Array, "b s s"] | Float[Array, "b"]
    worst: Float[Array, "b"] | None
    drift: Float[Array, "b"] | None
    stages: dict[int, Stages]


def score_banks(
    variables: PyTree,
    x: Float[Array, "b s s 3"],
    without: Int32[Array, "b"] | None,
    *,
    teacher: nn.Module,
    options: BankOptions,
    matching: str,
) -> BankScores:
    """Distances of images, as the teacher takes them, to each bank; other arguments as for `score_batch`."""
    size, region, stages_of = (x.shape[1], x.shape[2]), variables.get("region"), {}
    maps, worst = [], None
    for i, spec in enumerate(options.sizes):
        bank, side = variables["banks"][str(i)], spec.side(size[0])
        if side not in stages_of:  # banks that see images of one side have the same references
            stages_of[side] = matched_stages(
                teacher,
                variables["teacher"],
                at_side(x, side),
                matching=matching,
                options=options,
                references=bank.get("references", {}),
                alpha=variables.get("alpha", 0.0),
            )
        with jax.named_scope("bank"):
            embedding = embed(stages_of[side].matched, spec.stages, bank, options=options)
            b, h, w, c = embedding.shape
            patches, norms = embedding.reshape(b, h * w, c), bank["half_norms"]
            if without is not None:
                own = variables["parts"][bank["owners"]][None] == without[:, None]
                norms = jnp.where(own, jnp.inf, norms[None])
            distances, rows = nearest(patches, bank["rows"], norms)
            distances = DISTANCES[options.distance].of_euclidean(distances)
        with jax.named_scope("score map"):
            # One bank's distances stay distances; several are brought to one scale before they are added.
            z = (distances - bank["location"]) / bank["scale"] if len(options.sizes) > 1 else distances
            maps.append(distance_map(z.reshape(b, h, w), size=size) if options.has_map else z[:, 0])
        if options.score != "map" and region is not None:
            distances = jnp.where(patches_within(region, (h, w)).reshape(1, h * w), distances, 0)
        if options.score == "top":
            worst = top_mean(distances)
        if options.score == "patches":
            of_image = functools.partial(_reweighted, bank=bank["rows"], neighbours=options.neighbours)
            worst = jax.vmap(of_image, in_axes=(0, 0, 0, None if norms.ndim == 1 else 0))(
                patches, distances, rows, norms
            )
    first, joined = stages_of[options.sizes[0].side(size[0])], functools.reduce(jnp.add, maps)
    if options.joined == "scores" and options.has_map and len(maps) > 1:
        joined = _raised_to_scores(joined, maps, region)
    return BankScores(joined, worst, _drift(first, variables.get("drift"), options.drift), stages_of)


def _raised_to_scores(
    joined: Float[Array, "b s s"], maps: list[Float[Array, "b s s"]], region: Bool[Array, "s s"] | None
) -> Float[Array, "b s s"]:
    """The sum of maps, raised so that its largest value is the sum of theirs, wherever each has it in the region."""
    inside = True if region is None else region[None]
    largest = [jnp.where(inside, each, -jnp.inf).max((1, 2)) for each in (*maps, joined)]
    return joined + (functools.reduce(jnp.add, largest[:-1]) - largest[-1])[:, None, None]


def _drift(stages: Stages, drift: PyTree | None, measured: tuple[int, ...]) -> Float[Array, "b"] | None:
    """How far the stages, as they are before matching, are from those of the good images."""
    if drift is None:
        return None
    of_each = jax.vmap(channel_deviation, in_axes=(None, 0))
    deviations = [of_each(middle_ranks(stages.before[k - 1]), drift["barycentre"][str(k)])[0] for k in measured]
    return drift_score(deviations, [drift["spread"][str(k)][0] for k in measured])


def score_batch(
    variables: PyTree,
    images: UInt8[Array, "b s s 3"],
    without: Int32[Array, "b"] | None = None,
    *,
    teacher: nn.Module,
    preprocess: Callable[[Array], Array],
    dtype: Any,
    options: BankOptions,
    matching: str,
) -> Prediction[Array]:
    """Score and map of images from their patches' distances to the bank, and drift.

    Args:
        variables: {"teacher", "banks": {"0": bank, ...}, "parts": int32 [n]} and, if there is one, "region", bool
            [s s]. A bank is {"rows" [m c], "half_norms" [m], "owners" int32 [m], "location", "scale"} with
            "references" and, where it is reduced, "centre" and "components". With a matching there is "alpha" and,
            where pixels are matched, "pixels" (`pixel_bounds`). "drift" as `methods/drift.py` makes it, k = 1.
        images: what is scored.
        without: a part for each image whose patches are left out of the bank while it is scored; -1 for
            none. So images that are in the bank can be ranked as if they were not.
        teacher, preprocess, dtype, options: as for `bank_method`.
        matching: "none" or a key of `MATCHINGS`.

    Returns:
        score [b]; map [b s s], None from banks of whole images; drift [b] or None.
    """
    region = variables.get("region")
    if region is not None:
        images = hold_region(images, region)
    x = network_input(images, variables.get("pixels"), preprocess=preprocess, dtype=dtype)
    found = score_banks(variables, x, without, teacher=teacher, options=options, matching=matching)
    if not options.has_map:
        return Prediction(found.map, None, found.drift)
    total = found.map if region is None else within(region, found.map)
    return Prediction(image_score(total) if found.worst is None else found.worst, total, found.drift)


def within(region: Bool[Array, "s s"], maps: Float[Array, "b s s"]) -> Float[Array, "b s s"]:
    """Maps with their own lowest value, at most 0, outside a region: rows stay independent."""
    return jnp.where(region[None], maps, jnp.minimum(maps.min((1, 2), keepdims=True), 0))
