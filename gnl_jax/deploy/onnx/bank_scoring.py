"""The memory bank's score, map and drift as nodes (`methods.memory_bank.score_batch`)."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gnl_jax.deploy.onnx.drift import stage_drift
from gnl_jax.deploy.onnx.graph import Graph
from gnl_jax.deploy.onnx.matching import Sort, Sorted, match, sort_channels, sort_values
from gnl_jax.deploy.onnx.memory_bank import memory_bank_head
from gnl_jax.deploy.onnx.network import Seen, resnet_stages
from gnl_jax.deploy.onnx.scoremap import image_score, smooth
from gnl_jax.deploy.onnx.scoring import Scored
from gnl_jax.deploy.onnx.transformer import dinov2_stages
from gnl_jax.methods.bank_options import BankOptions
from gnl_jax.methods.memory_bank import patches_within
from gnl_jax.nn.dinov2 import DinoV2
from gnl_jax.nn.resnet import ResNet
from gnl_jax.nn.teachers import Teacher

PyTree = Any
LEAST_FLOAT = float(np.finfo(np.float32).min)


class Network(NamedTuple):
    """How a kind of teacher is written.

    Attributes:
        stages: its builder, as `resnet_stages`.
        ordered: how its features are sorted: after a ReLU, or of either sign.
    """

    stages: Callable[..., Seen]
    ordered: Callable[..., Sorted]


NETWORKS = {ResNet: Network(resnet_stages, sort_channels), DinoV2: Network(dinov2_stages, sort_values)}


def memory_bank(
    g: Graph, x: str, variables: PyTree, *, teacher: Teacher, size: int, matching: str, sort: Sort, options: BankOptions
) -> Scored:
    """Scores normalised images [b 3 s s] by their patches' distances to one bank or several.

    Args:
        g: the graph.
        x: the name of the images.
        variables: as `score_batch` takes them.
        teacher, size, matching, options: of the detector.
        sort: how sorting is written (`matching.SORTS`).
    """
    region, maps = variables.get("region"), []
    worst: str | None = None
    drifts: list[str] = []
    for i, spec in enumerate(options.sizes):
        bank, side = variables["banks"][str(i)], spec.side(size)
        small = x if side == size else smooth(g, x, shrinking_matrix(side, size))
        drift = variables.get("drift") if i == 0 else None  # by the first bank's size alone
        matched = options.matched if matching != "none" else ()
        stages, found = matched_stages(
            g,
            small,
            variables["teacher"],
            teacher=teacher,
            side=side,
            sort=sort,
            drift=drift,
            matching=matching,
            matched=matched,
            references=bank.get("references", {}),
            alpha=float(variables.get("alpha", 0.0)),
            options=options,
            chosen=spec.stages,
        )
        drifts += found
        grid = (side // min(teacher.strides[k - 1] for k in spec.stages),) * 2
        head = memory_bank_head(
            g,
            [stages[k] for k in spec.stages],
            sides=[side // teacher.strides[k - 1] for k in spec.stages],
            channels=sum(teacher.channels[k - 1] for k in spec.stages),
            bank=bank,
            size=size,
            standardised=len(options.sizes) > 1,
            options=options,
            inside=None if region is None else np.asarray(patches_within(jnp.asarray(region), grid)),
        )
        maps.append(head.map)
        worst = head.worst
    total = functools.reduce(lambda a, b: g.add("Add", a, b), maps)
    if options.joined == "scores" and len(maps) > 1:
        total = raised_to_scores(g, total, maps, region)
    if region is not None:
        total = outside_is_least(g, total, np.asarray(region))
    score = image_score(g, total) if worst is None else worst
    if not drifts:
        return Scored(score, total, None)
    added = functools.reduce(lambda a, b: g.add("Add", a, b), drifts)
    return Scored(score, total, g.add("Mul", added, 1 / len(drifts)))


def matched_stages(
    g: Graph,
    x: str,
    variables: PyTree,
    *,
    teacher: Teacher,
    side: int,
    sort: Sort,
    drift,
    matching: str,
    matched,
    references,
    alpha: float,
    options: BankOptions,
    chosen: Sequence[int],
) -> tuple[Seen, list[str]]:
    """The teacher's chosen stages, some of them matched, and the drift of `options.drift` before they are."""
    drifts, network, last = [], NETWORKS[type(teacher.module)], len(teacher.strides)
    wanted = {*chosen, *(options.drift if drift is not None else ())}
    wanted |= {k for k in matched if k < max(wanted)}

    def hook(k: int, features: str) -> str:
        n = (side // teacher.strides[k - 1]) ** 2
        seen = drift is not None and k in options.drift
        needed = seen or (k in matched and matching != "mixstyle")
        ordered = network.ordered(g, features, n, sort=sort) if needed else None
        if seen and ordered is not None:
            barycentre, spread = (np.asarray(drift[part][str(k)][0]) for part in ("barycentre", "spread"))
            drifts.append(stage_drift(g, ordered, barycentre, spread, n))
        if k not in matched:
            return features
        weight = options.last_alpha if k == last else alpha
        return match(g, features, ordered, np.asarray(references[str(k)]), kind=matching, alpha=weight)

    stages = network.stages(g, x, variables, teacher.module, side=side, wanted=sorted(wanted), hook=hook)
    return stages, drifts


def shrinking_matrix(side: int, size: int) -> np.ndarray:
    """`methods.memory_bank.at_side` along one axis, as a matrix [side size]: JAX's own weights."""
    return np.asarray(jax.image.resize(jnp.eye(size), (side, size), "linear"))


def raised_to_scores(g: Graph, joined: str, maps: Sequence[str], region: np.ndarray | None) -> str:
    """`joined`, the sum of maps [b s s], raised so that its largest value in the region is the sum of theirs."""

    def largest(score_map: str) -> str:
        if region is not None:
            score_map = g.add("Where", g.constant(np.asarray(region)[None], bool), score_map, LEAST_FLOAT)
        return g.add("ReduceMax", score_map, axes=[1, 2], keepdims=1)

    peaks = functools.reduce(lambda a, b: g.add("Add", a, b), map(largest, maps))
    return g.add("Add", joined, g.add("Sub", peaks, largest(joined)))


def outside_is_least(g: Graph, score_map: str, region: np.ndarray) -> str:
    """The map with each image's smallest value, at most 0, where region bool [s s] is False."""
    least = g.add("Min", g.add("ReduceMin", score_map, axes=[1, 2], keepdims=1), 0.0)
    return g.add("Where", g.constant(region[None], bool), score_map, least)
