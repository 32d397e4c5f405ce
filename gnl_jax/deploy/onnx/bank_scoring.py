"""The memory bank's score, map and drift as nodes (`methods.memory_bank.score_batch`)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gnl_jax.deploy.onnx.drift import stage_drift
from gnl_jax.deploy.onnx.graph import Graph
from gnl_jax.deploy.onnx.matching import Sort, match, sort_channels
from gnl_jax.deploy.onnx.memory_bank import memory_bank_head
from gnl_jax.deploy.onnx.network import stem, teacher_stage
from gnl_jax.deploy.onnx.scoremap import image_score, smooth
from gnl_jax.deploy.onnx.scoring import Scored
from gnl_jax.methods.bank_options import BankOptions
from gnl_jax.methods.memory_bank import DRIFT_STAGES
from gnl_jax.nn.blocks import architecture
from gnl_jax.nn.folding import fold

PyTree = Any


def memory_bank(
    g: Graph, x: str, variables: PyTree, *, arch: str, size: int, matching: str, sort: Sort, options: BankOptions
) -> Scored:
    """Scores normalised images [b 3 s s] by their patches' distances to one bank or several.

    Args:
        variables: as `score_batch` takes them.
        arch, size, matching, options: of the detector.
        sort: how sorting is written (`matching.SORTS`).
    """
    params, total, worst, drifts = fold(variables["teacher"])["params"], None, None, []
    planes = 64 * architecture(arch).expansion
    for i, spec in enumerate(options.sizes):
        bank, side = variables["banks"][str(i)], spec.side(size)
        small = x if side == size else smooth(g, x, shrinking_matrix(side, size))
        drift = variables.get("drift") if i == 0 else None  # by the first bank's size alone
        network = {"params": params, "arch": arch, "side": side, "sort": sort, "drift": drift}
        alpha, matched = variables.get("alpha", 0.0), options.matched if matching != "none" else ()
        how = {"matching": matching, "matched": matched, "references": bank.get("references", {})}
        weights = {1: float(alpha), 2: float(alpha), 3: options.last_alpha}
        stages, found = matched_stages(g, small, alphas=weights, **how, **network)
        drifts += found
        head = memory_bank_head(
            g,
            [stages[k - 1] for k in spec.stages],
            sides=[side // 2 ** (k + 1) for k in spec.stages],
            channels=sum(planes * 2 ** (k - 1) for k in spec.stages),
            bank=bank,
            size=size,
            standardised=len(options.sizes) > 1,
            neighbours=options.neighbours if options.score == "patches" else 0,
        )
        total = head.map if total is None else g.add("Add", total, head.map)
        worst = head.worst
    if variables.get("region") is not None:
        total = outside_is_least(g, total, np.asarray(variables["region"]))
    score = image_score(g, total) if worst is None else worst
    return Scored(score, total, g.add("Mul", g.add("Add", *drifts), 1 / len(drifts)) if drifts else None)


def matched_stages(
    g: Graph,
    x: str,
    *,
    params,
    arch: str,
    side: int,
    sort: Sort,
    drift,
    matching: str,
    matched,
    references,
    alphas: dict[int, float],
) -> tuple[list[str], list[str]]:
    """The teacher's three stages, some of them matched, and the drift of stages 1 and 2 before they are."""
    stages, drifts, x = [], [], stem(g, x, params)
    for k in (1, 2, 3):
        x, n = teacher_stage(g, x, params, k, arch=architecture(arch)), (side // 2 ** (k + 1)) ** 2
        seen = drift is not None and k in DRIFT_STAGES
        ordered = None
        if seen or (k in matched and matching != "mixstyle"):
            ordered = sort_channels(g, x, n, sort=sort)
        if seen:
            parts = (np.asarray(drift[part][str(k)][0]) for part in ("barycentre", "spread"))
            drifts.append(stage_drift(g, ordered, *parts, n))
        if k in matched:
            x = match(g, x, ordered, np.asarray(references[str(k)]), kind=matching, alpha=alphas[k])
        stages.append(x)
    return stages, drifts


def shrinking_matrix(side: int, size: int) -> np.ndarray:
    """`methods.memory_bank.at_side` along one axis, as a matrix [side size]: JAX's own weights."""
    return np.asarray(jax.image.resize(jnp.eye(size), (side, size), "linear"))


def outside_is_least(g: Graph, score_map: str, region: np.ndarray) -> str:
    """The map with each image's smallest value, at most 0, where region bool [s s] is False."""
    least = g.add("Min", g.add("ReduceMin", score_map, axes=[1, 2], keepdims=1), 0.0)
    return g.add("Where", g.constant(region[None], bool), score_map, least)
