"""Reverse distillation's score, map and drift as nodes (`methods.scoring.score_batch`)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gnl_jax.deploy.onnx.drift import stage_drift
from gnl_jax.deploy.onnx.graph import Graph
from gnl_jax.deploy.onnx.matching import Sort, Sorted, match, sort_channels
from gnl_jax.deploy.onnx.network import stem, student, teacher, teacher_stage
from gnl_jax.deploy.onnx.scoremap import hold_map, image_score, score_map
from gnl_jax.nn.blocks import architecture
from gnl_jax.nn.folding import fold

PyTree = Any


class Scored(NamedTuple):
    """Names of score [b], map [b s s] and drift [b], or None without drift."""

    score: str
    map: str
    drift: str | None


def reverse_distillation(
    g: Graph, x: str, variables: PyTree, *, arch: str, size: int, matching: str, sort: Sort
) -> Scored:
    """Scores normalised images [b 3 s s]; with k references the mean of the k results.

    Args:
        g: the graph.
        x: the name of the images.
        variables: as `score_batch` takes them; folded or not.
        arch, size, matching: of the detector.
        sort: how sorting is written (`matching.SORTS`).
    """
    params = {name: fold(variables[name])["params"] for name in ("teacher", "student")}
    options: dict[str, Any] = {"params": params, "variables": variables, "arch": architecture(arch), "size": size}
    options |= {"matching": matching}
    first = teacher_stage(g, stem(g, x, params["teacher"]), params["teacher"], 1, arch=options["arch"])
    sorting = _sorting(variables, matching, size, sort)
    found = sorting(g, first, 1)  # once for all references
    k = 1 if matching == "none" else len(variables["references"][0])
    parts = [_by_reference(g, first, found, which=i, sorting=sorting, **options) for i in range(k)]
    if k == 1:
        return parts[0]
    scores, maps, drifts = ([name for name in part if name is not None] for part in zip(*parts, strict=True))
    return Scored(g.add("Mean", *scores), g.add("Mean", *maps), g.add("Mean", *drifts) if drifts else None)


def _sorting(variables: PyTree, matching: str, size: int, sort: Sort) -> Callable[[Graph, str, int], Sorted | None]:
    """A function (g, features, stage) -> Sorted, or None where nothing needs it."""
    needed = "drift" in variables or matching in ("efdm", "both")

    def sorting(g: Graph, features: str, stage: int) -> Sorted | None:
        return sort_channels(g, features, _positions(size, stage), sort=sort) if needed else None

    return sorting


def _positions(size: int, stage: int) -> int:
    return (size // 2 ** (stage + 1)) ** 2


def _by_reference(
    g: Graph, first: str, found: Sorted | None, *, params, variables, arch, size, matching, which, sorting
) -> Scored:
    """Score, map and drift with one of the references."""
    drift, region, drifts = variables.get("drift"), variables.get("region"), []

    def hook(k: int, features: str) -> str:
        ordered = found if k == 1 else sorting(g, features, k)
        if drift is not None and ordered is not None:
            barycentre, spread = (np.asarray(drift[part][str(k)][which]) for part in ("barycentre", "spread"))
            drifts.append(stage_drift(g, ordered, barycentre, spread, _positions(size, k)))
        if matching == "none":
            return features
        reference, alpha = np.asarray(variables["references"][k - 1][which]), float(variables["alpha"])
        return match(g, features, ordered, reference, kind=matching, alpha=alpha)

    stages = teacher(g, "", params["teacher"], arch=arch, hook=hook, first=first)
    result = score_map(g, stages, student(g, stages, params["student"], arch=arch), size=size)
    if region is not None:
        result = hold_map(g, result, np.asarray(region))
    score = image_score(g, result)
    return Scored(score, result, g.add("Mul", g.add("Add", *drifts), 1 / len(drifts)) if drifts else None)
