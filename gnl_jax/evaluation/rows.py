"""From the scores of every test set to a row of results.json."""

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from gnl_jax.config_io import plain_config
from gnl_jax.data.protocol import Task
from gnl_jax.evaluation.bootstrap import auroc_interval
from gnl_jax.evaluation.metrics import auroc, average_precision, f1_max, false_alarm_rate, threshold_at
from gnl_jax.evaluation.results import make_row
from gnl_jax.evaluation.scores import Scored
from gnl_jax.methods.build import system_of
from gnl_jax.version import __version__

FALSE_ALARMS = 0.05  # rate on the unshifted normal test images that sets the threshold
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "pillow")


def image_metrics(tests: Mapping[str, Scored]) -> dict[str, dict[str, float]]:
    """What AUROC does not say: metric to test set to a fraction in [0, 1].

    "average_precision" and "f1_max"; and "false_alarm_0.05": the fraction of normal images above the threshold that
    lets at most this share of those of "id" through, that is, what becomes of a detector whose threshold was set before
    the shift.
    """
    clean = tests["id"]
    threshold = threshold_at(clean.score[~clean.anomalous], FALSE_ALARMS)
    return {
        "average_precision": {name: average_precision(*scored) for name, scored in tests.items()},
        "f1_max": {name: f1_max(*scored) for name, scored in tests.items()},
        f"false_alarm_{FALSE_ALARMS:.2f}": {
            name: false_alarm_rate(score[~anomalous], threshold) for name, (score, anomalous) in tests.items()
        },
    }


def evaluation_row(
    config: ConfigDict,
    task: Task,
    *,
    matching: str,
    alpha: float | None,
    steps: int,
    tests: Mapping[str, Scored],
    pixel: Mapping[str, Mapping[str, float]],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """A row of results.json.

    Args:
        config: what was evaluated; `eval.alpha` is not looked at.
        task: its name and normal class.
        matching: of the test features.
        alpha: of the matching; None without one.
        steps: optimiser steps taken.
        tests: test set to scores, "id" first.
        pixel: metric of score maps to test set to value.
        seconds: "train" and "score".
    """
    areas = {name: auroc(*scored) for name, scored in tests.items()}
    matched = matching != "none"
    k = {"first": 1, "random": config.eval.anchors, "barycentre": 1}[config.eval.anchor]
    return make_row(
        method=config.method.name,
        dataset=task.dataset,
        normal=task.normal,
        seed=config.seed,
        teacher=_teacher_words(config),
        matching={
            "kind": matching,
            "alpha": alpha,
            "anchor": config.eval.anchor if matched else None,
            "k": k if matched else None,
        },
        steps=steps,
        auroc_id=areas.pop("id"),
        auroc_ood=areas,
        interval={name: auroc_interval(*scored) for name, scored in tests.items()},
        metrics=image_metrics(tests),
        pixel=pixel,
        n_test={name: len(scored.score) for name, scored in tests.items()},
        seconds=seconds,
        device=f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}",
        versions={name: importlib.metadata.version(name) for name in PACKAGES} | {"gnl_jax": __version__},
        config_sha=config_sha(config),
    )


def config_sha(config: ConfigDict) -> str:
    """SHA-256 of a resolved configuration, by which a row says what it belongs to."""
    return hashlib.sha256(json.dumps(plain_config(config), sort_keys=True).encode()).hexdigest()


def train_seconds(workdir: Path) -> float:
    """Seconds spent in training steps, from metrics.jsonl."""
    with (workdir / "metrics.jsonl").open() as lines:
        return float(sum(json.loads(line)["seconds"] for line in lines))


def _teacher_words(config: ConfigDict) -> str:
    """Architecture and weights, the latter without the folder their file happened to lie in."""
    if system_of(config).teachers is None:
        return "none"
    return f"{config.teacher.arch}, {Path(config.teacher.weights).name}"
