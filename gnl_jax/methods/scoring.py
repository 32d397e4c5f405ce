"""Scoring with a teacher and its student, with or without feature matching (Eq. 4 to 8)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Real, UInt8

from gnl_jax.array_types import Array, Scalar
from gnl_jax.batches import ImageSource, full_batches, images_of_a_pass
from gnl_jax.methods.base import Prediction, each_array
from gnl_jax.methods.reverse_distillation import Model
from gnl_jax.nn.apply import outputs
from gnl_jax.nn.resnet import Match
from gnl_jax.ops.drift import channel_deviation, drift_score, middle_ranks
from gnl_jax.ops.kept_value import kept_value
from gnl_jax.ops.matching import MATCHINGS, sort_features
from gnl_jax.ops.scoremap import image_score, score_map

PyTree = Any
ANCHORS = ("first", "random", "barycentre")
OUTSIDE = 128  # value of every pixel outside the region that is inspected: middle grey
_CHUNK = 16  # training images of 256x256 per pass while references are made


class Scoring(NamedTuple):
    """Which matching a detector scores with, and to which images' features.

    Attributes:
        matching: "none" or a key of `ops.matching.MATCHINGS`.
        alpha: weight of the training style in [0, 1] (Eq. 5).
        anchor, anchors, seed: as for `anchor_images`.
    """

    matching: str = "none"
    alpha: float = 0.5
    anchor: str = "first"
    anchors: int = 1
    seed: int = 0


def anchor_images(n: int, *, anchor: str, k: int, seed: int) -> Int[np.ndarray, "m"]:
    """Indices of the training images whose features become references.

    "first": the first image (Published code: the first file); "random": k drawn once from the seed (Paper: a fresh one
    per test image); "barycentre": all of them, to be averaged.
    """
    if anchor not in ANCHORS:
        raise ValueError(f"eval.anchor: got {anchor!r}, expected one of {', '.join(ANCHORS)}")
    if anchor == "random":
        if not 1 <= k <= n:
            raise ValueError(f"eval.anchors: got {k}, expected 1 to {n}, the number of training images")
        return np.sort(np.random.default_rng([seed, 1]).choice(n, size=k, replace=False))
    return np.arange(1 if anchor == "first" else n)


def make_references(
    teacher: PyTree, images: ImageSource, *, model: Model, preprocess, anchor: str, k: int = 1, seed: int = 0
) -> tuple[Float32[Array, "k n1 c1"], Float32[Array, "k n2 c2"]]:
    """Sorted teacher features of the anchors at stages 1 and 2; n is h w there.

    images: the training images, uint8 [n s s 3]. "barycentre" gives k = 1: the mean of the sorted features, which is
    the one-dimensional Wasserstein barycentre of the images' feature distributions. The anchors' own path through the
    teacher is never matched.
    """

    @jax.jit
    def sorted_stages(teacher, images):
        stages: tuple[Array, ...] = outputs(model.teacher, teacher, preprocess(images).astype(model.dtype))
        return tuple(sort_features(s).astype(jnp.promote_types(s.dtype, jnp.float32)) for s in stages[:2])

    chosen = anchor_images(len(images), anchor=anchor, k=k, seed=seed)
    at_once = min(len(chosen), images_of_a_pass(images[chosen[:1]].shape[1], at_most=_CHUNK))
    seen = (
        [np.asarray(stage)[:count] for stage in sorted_stages(teacher, batch)]
        for batch, count in full_batches(images, chosen, batch_size=at_once)
    )
    if anchor != "barycentre":
        first, second = (jnp.asarray(np.concatenate(stage)) for stage in zip(*seen, strict=True))
        return first, second
    totals = [0.0, 0.0]
    for stages in seen:
        totals = [total + stage.sum(0, dtype=np.float64) for total, stage in zip(totals, stages, strict=True)]
    first, second = (jnp.asarray(total / len(chosen), jnp.float32)[None] for total in totals)
    return first, second


def match_hook(references: Sequence[Float[Array, "_ _"]], *, matching: str, alpha: Scalar) -> Match:
    """The teacher's hook that matches stages 1 and 2 to one anchor's sorted features."""
    if matching not in MATCHINGS:
        raise ValueError(f"eval.matching: got {matching!r}, expected one of none, {', '.join(MATCHINGS)}")

    @jax.named_scope("matching")
    def match(stage: int, features: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        matched = MATCHINGS[matching](features, references[stage - 1], alpha=alpha)
        return kept_value(matched.astype(features.dtype))

    return match


def hold_region(images: UInt8[Array, "b h w 3"], region: Bool[Array, "h w"]) -> UInt8[Array, "b h w 3"]:
    """Images with `OUTSIDE` wherever the region is False: what was there cannot matter."""
    return jnp.where(region[None, ..., None], images, jnp.uint8(OUTSIDE))


def score_batch(
    variables: PyTree, images: Real[Array, "b s s 3"], *, model: Model, preprocess, matching: str
) -> Prediction[Array]:
    """Anomaly score and map of images, and drift or None.

    variables: {"teacher", "student"}; for a matching other than "none" {"references", "alpha"}; optionally "region",
    bool [s s], outside which nothing counts, and "drift" (`methods/drift.py`), with which drift is measured on the
    features before they are matched. The matched features feed the student and are what its reconstruction is compared
    with; score, map and drift are averaged over the k references. Rows do not influence each other.
    """
    region = variables.get("region")
    if region is not None:
        images = hold_region(images, region)
    x = preprocess(images).astype(model.dtype)
    size = images.shape[1], images.shape[2]

    def predict(match: Match | None, drift: PyTree) -> Prediction[Array]:
        deviations = []

        def hook(stage, features):
            if drift is not None:
                barycentre = drift["barycentre"][str(stage)]
                deviations.append(channel_deviation(middle_ranks(features), barycentre))
            return match(stage, features) if match else features

        with jax.named_scope("teacher"):
            # Together: otherwise a CPU begins with the student, and two convolutions run on one core each.
            stages = kept_value(outputs(model.teacher, variables["teacher"], x, hook))
        _, decoded = outputs(model.student, variables["student"], stages)
        with jax.named_scope("score map"):
            result = score_map(stages, decoded, size=size)
        if region is not None:
            result = result * region[None].astype(result.dtype)
        spreads = [drift["spread"][stage] for stage in ("1", "2")] if deviations else []
        return Prediction(image_score(result), result, drift_score(deviations, spreads) if deviations else None)

    drift = variables.get("drift")
    if matching == "none":
        return predict(None, None if drift is None else jax.tree.map(lambda a: a[0], drift))

    def matched(references, drift):
        return predict(match_hook(references, matching=matching, alpha=variables["alpha"]), drift)

    results = jax.vmap(matched)(variables["references"], drift)
    return each_array(results, lambda field: field.mean(0))
