"""Evaluation of a run folder: scores on every test set, AUROC, results.json."""

import hashlib
import importlib.metadata
import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from gnl_jax import __version__
from gnl_jax.data.load import load_task
from gnl_jax.data.protocol import LabelledImages, Task
from gnl_jax.detection.detector import Detector, make_detector, predict
from gnl_jax.evaluation.metrics import auroc
from gnl_jax.evaluation.results import make_row
from gnl_jax.methods.base import Prediction
from gnl_jax.methods.build import build_method, matmul_precision
from gnl_jax.progress import progress_bar
from gnl_jax.training.arrays import load_arrays
from gnl_jax.training.checkpoint import Checkpoints
from gnl_jax.training.workdir import load_config, plain_config

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "pillow")


class Evaluation(NamedTuple):
    """One row of results.json and what stands behind it: per test set the images and what was predicted."""

    row: dict[str, Any]
    tests: dict[str, tuple[LabelledImages, Prediction]]


def restore_detector(
    workdir: str | Path, *, matching: str, config: ConfigDict | None = None, task: Task | None = None
) -> tuple[Detector, int]:
    """The detector of a finished or interrupted run, from its folder alone, and the steps it was trained for.

    `config` (default: the folder's) may differ in `eval`; `task` (default: the config's) supplies the anchors. Raises
    ValueError naming the folder if it holds no checkpoint.
    """
    folder = Path(workdir)
    config = load_config(folder) if config is None else config
    task = load_task(config.dataset, seed=config.seed) if task is None else task
    method = build_method(config, matching=matching, frozen=load_arrays(folder / "frozen.safetensors"))
    phase = method.phases[-1]
    template = jax.eval_shape(lambda: phase.init(jax.random.key(0), None, task.train))
    with Checkpoints(folder / "checkpoints" / phase.name) as checkpoints:
        restored = checkpoints.restore(template)
    if restored is None:
        raise ValueError(f"workdir {folder}: no checkpoint of phase {phase.name!r}, expected a trained run")
    detector = make_detector(
        method,
        restored.state,
        task.train,
        size=config.dataset.size,
        batch_size=config.eval.batch_size,
        precision=matmul_precision(config),
    )
    return detector, restored.step


def evaluate(workdir: str | Path, *, config: ConfigDict | None = None) -> list[Evaluation]:
    """Evaluates a run folder on every test set of its task, once per `eval.matching`.

    `config`: the folder's with other `eval` fields, if wanted. Nothing is written. Raises ValueError naming a test set
    without normal or without anomalous images.
    """
    config = load_config(workdir) if config is None else config
    task = load_task(config.dataset, seed=config.seed)
    tests = {name: task.load_test(name) for name in task.tests}
    matchings = config.eval.matching
    matchings = (matchings,) if isinstance(matchings, str) else tuple(matchings)
    total = len(matchings) * sum(len(t.images) for t in tests.values())
    evaluations = []
    with progress_bar(f"scoring {workdir}", total) as advance:
        for matching in matchings:
            detector, steps = restore_detector(workdir, matching=matching, config=config, task=task)
            predictions, seconds = {}, 0.0
            for name, test in tests.items():
                begun = time.perf_counter()
                predictions[name] = predict(detector, test.images, advance=advance)
                seconds += time.perf_counter() - begun
            row = _row(config, matching, steps, tests, predictions, seconds, _train_seconds(Path(workdir)))
            evaluations.append(Evaluation(row, {name: (tests[name], predictions[name]) for name in tests}))
    return evaluations


def _row(config, matching, steps, tests, predictions, score_seconds, train_seconds) -> dict[str, Any]:
    areas = {name: float(auroc(predictions[name].score, test.anomalous)) for name, test in tests.items()}
    matched = matching != "none"
    k = {"first": 1, "random": config.eval.anchors, "barycentre": 1}[config.eval.anchor]
    return make_row(
        method=config.method.name,
        dataset=config.dataset.name,
        normal=config.dataset.normal,
        seed=config.seed,
        teacher=f"{config.teacher.arch}, {_weights_name(config)}",
        matching={
            "kind": matching,
            "alpha": config.eval.alpha if matched else None,
            "anchor": config.eval.anchor if matched else None,
            "k": k if matched else None,
        },
        steps=steps,
        auroc_id=areas.pop("id"),
        auroc_ood=areas,
        n_test={name: len(test.images) for name, test in tests.items()},
        seconds={"train": train_seconds, "score": score_seconds},
        device=f"{jax.devices()[0].platform}: {jax.devices()[0].device_kind}",
        versions={name: importlib.metadata.version(name) for name in PACKAGES} | {"gnl_jax": __version__},
        config_sha=hashlib.sha256(json.dumps(plain_config(config), sort_keys=True).encode()).hexdigest(),
    )


def _weights_name(config: ConfigDict) -> str:
    """What the weights are called, without the folder their file happened to lie in."""
    return Path(config.teacher.weights).name


def _train_seconds(workdir: Path) -> float:
    """Seconds spent in training steps, from metrics.jsonl."""
    with (workdir / "metrics.jsonl").open() as lines:
        return float(sum(json.loads(line)["seconds"] for line in lines))


def gallery_choice(test: LabelledImages, prediction: Prediction) -> np.ndarray:
    """Indices of four telling images: the median and the highest-scored normal one, the median and lowest anomalous."""
    normal, anomalous = (np.flatnonzero(test.anomalous == flag) for flag in (False, True))
    normal = normal[np.argsort(prediction.score[normal], kind="stable")]
    anomalous = anomalous[np.argsort(prediction.score[anomalous], kind="stable")]
    return np.array([normal[len(normal) // 2], normal[-1], anomalous[len(anomalous) // 2], anomalous[0]])
