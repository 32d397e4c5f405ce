"""Evaluation of a run folder: scores and, where there are masks, score maps on every test set."""

import hashlib
import importlib.metadata
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from gnl_jax import __version__
from gnl_jax.data.load import load_task
from gnl_jax.data.protocol import LabelledImages, Task, leak_check
from gnl_jax.detection.detector import Detector, make_detector, predict
from gnl_jax.evaluation.metrics import aupro, auroc, pixel_auroc
from gnl_jax.evaluation.plots import GalleryItem
from gnl_jax.evaluation.results import make_row
from gnl_jax.methods.build import build_method, matmul_precision
from gnl_jax.progress import progress_bar
from gnl_jax.training.arrays import load_arrays
from gnl_jax.training.checkpoint import Checkpoints
from gnl_jax.training.workdir import load_config, plain_config

AUPRO_LIMITS = (0.3, 0.05)  # false-positive rates: MVTec AD's own, and the stricter one of later benchmarks
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "pillow")


class Scored(NamedTuple):
    """What was said of a test set: score float32 [n], higher is more anomalous, and the truth, anomalous bool [n]."""

    score: np.ndarray
    anomalous: np.ndarray


class Evaluation(NamedTuple):
    """One row of results.json and what stands behind it: the scores of each test set, and some of its images."""

    row: dict[str, Any]
    tests: dict[str, Scored]
    gallery: list[GalleryItem]


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

    One test set is in memory at a time, and score maps only where there are masks to compare them with. Nothing is
    written.

    Args:
        workdir: the run folder.
        config: the folder's with other `eval` fields, if wanted.

    Raises:
        ValueError: a test set without normal or without anomalous images; it is named.
    """
    config = load_config(workdir) if config is None else config
    task = load_task(config.dataset, seed=config.seed)
    matchings = config.eval.matching
    matchings = (matchings,) if isinstance(matchings, str) else tuple(matchings)
    detectors = {m: restore_detector(workdir, matching=m, config=config, task=task) for m in matchings}
    tested: dict[str, dict[str, _Tested]] = {matching: {} for matching in matchings}
    for name in task.tests:
        test = task.load_test(name)
        if name == "id":
            warn_of_leaks(task, test)
        with progress_bar(f"{workdir} {name}", len(matchings) * len(test.images)) as advance:
            for matching, (detector, _) in detectors.items():
                tested[matching][name] = _test(detector, test, name=name, advance=advance)
    train_seconds = _train_seconds(Path(workdir))
    return [
        Evaluation(
            row=_row(config, task, matching, detectors[matching][1], results, train_seconds),
            tests={name: result.scored for name, result in results.items()},
            gallery=[item for result in results.values() for item in result.gallery],
        )
        for matching, results in tested.items()
    ]


class _Tested(NamedTuple):
    scored: Scored
    pixel: dict[str, float]
    gallery: list[GalleryItem]
    seconds: float


def _test(detector: Detector, test: LabelledImages, *, name: str, advance: Callable[[int], None]) -> _Tested:
    begun = time.perf_counter()
    prediction = predict(detector, test.images, maps=test.masks is not None, advance=advance)
    seconds = time.perf_counter() - begun
    scored = Scored(prediction.score, test.anomalous)
    chosen = gallery_choice(*scored)
    maps = predict(detector, test.images[chosen]).map  # scored again: a row's result does not depend on the others
    gallery = [
        GalleryItem(
            image=test.images[i],
            map=score_map,
            score=float(scored.score[i]),
            anomalous=bool(test.anomalous[i]),
            test=name,
            mask=None if test.masks is None else test.masks[i],
        )
        for i, score_map in zip(chosen, () if maps is None else maps)
    ]
    return _Tested(scored, pixel_metrics(prediction.map, test.masks, name=name), gallery, seconds)


def pixel_metrics(maps: np.ndarray | None, masks: np.ndarray | None, *, name: str) -> dict[str, float]:
    """How well score maps [n s s] find the defects of masks bool [n s s]: pixel AUROC, and AUPRO for `AUPRO_LIMITS`.

    Empty without maps or masks, or, with a warning that names the test set, where no mask has a defect.
    """
    if maps is None or masks is None:
        return {}
    if not masks.any():
        logging.warning("%s: no mask has a defect at this image size, so there are no pixel metrics", name)
        return {}
    areas = {f"aupro_{limit:.2f}": aupro(maps, masks, limit) for limit in AUPRO_LIMITS}
    return {"auroc": pixel_auroc(maps, masks)} | areas


def warn_of_leaks(task: Task, test: LabelledImages) -> None:
    """Logs how many images of a test set are training images too, pixel for pixel."""
    pairs = leak_check(task.train, test.images)
    if pairs:
        first, second = pairs[0]
        names = [names[i] if names else f"image {i}" for names, i in ((task.train_names, first), (test.names, second))]
        logging.warning(
            "%s: %d of %d test images are also among the %d training images, such as %s (training: %s)",
            task.dataset,
            len({j for _, j in pairs}),
            len(test.images),
            len(task.train),
            *reversed(names),
        )


def _row(config, task, matching, steps, results: dict[str, _Tested], train_seconds: float) -> dict[str, Any]:
    areas = {name: auroc(*result.scored) for name, result in results.items()}
    metrics = dict.fromkeys(metric for result in results.values() for metric in result.pixel)
    matched = matching != "none"
    k = {"first": 1, "random": config.eval.anchors, "barycentre": 1}[config.eval.anchor]
    return make_row(
        method=config.method.name,
        dataset=task.dataset,
        normal=task.normal,
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
        pixel={m: {name: r.pixel[m] for name, r in results.items() if m in r.pixel} for m in metrics},
        n_test={name: len(result.scored.score) for name, result in results.items()},
        seconds={"train": train_seconds, "score": sum(result.seconds for result in results.values())},
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


def gallery_choice(score: np.ndarray, anomalous: np.ndarray) -> np.ndarray:
    """Indices of four telling images: the median and the highest-scored normal one, the median and lowest anomalous.

    score: floats [n]; anomalous: bool [n].
    """
    normal, defective = (np.flatnonzero(anomalous == flag) for flag in (False, True))
    normal = normal[np.argsort(score[normal], kind="stable")]
    defective = defective[np.argsort(score[defective], kind="stable")]
    return np.array([normal[len(normal) // 2], normal[-1], defective[len(defective) // 2], defective[0]])
