"""Evaluation of a run folder: scores and, where there are masks, score maps on every test set."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from gnl_jax.config_io import load_config
from gnl_jax.data.load import load_task
from gnl_jax.data.protocol import LabelledImages, Task, leak_check
from gnl_jax.detection.detector import Detector, predict
from gnl_jax.evaluation.metrics import aupro, pixel_auroc
from gnl_jax.evaluation.plots import GalleryItem
from gnl_jax.evaluation.restore import check_evaluation, restore_detector
from gnl_jax.evaluation.rows import evaluation_row, train_seconds
from gnl_jax.evaluation.scores import Scored
from gnl_jax.progress import progress_bar

AUPRO_LIMITS = (0.3, 0.05)  # false-positive rates: MVTec AD's own, and the stricter one of later benchmarks


class Evaluation(NamedTuple):
    """One row of results.json and what stands behind it: the scores of each test set, and some of its images."""

    row: dict[str, Any]
    tests: dict[str, Scored]
    gallery: list[GalleryItem]


def evaluate(
    workdir: str | Path, *, config: ConfigDict | None = None, alphas: Sequence[float] | None = None
) -> list[Evaluation]:
    """Evaluates a run folder on every test set of its task, once per `eval.matching`.

    One test set is in memory at a time, and score maps only where there are masks to compare them with. Nothing is
    written.

    Args:
        workdir: the run folder.
        config: the folder's with other `eval` fields or other test sets (`check_evaluation`), if wanted.
        alphas: evaluate each matching but "none" with every one of these instead of `eval.alpha`. It stays one
            compiled program.

    Raises:
        ValueError: a config of another run; a test set without normal or without anomalous images; it is named.
    """
    saved = load_config(workdir)
    config = saved if config is None else config
    check_evaluation(saved, config)
    task = load_task(config.dataset, seed=config.seed)
    detectors, steps = _detectors(workdir, config, task, alphas)
    tested: dict[_Matching, dict[str, _Tested]] = {matching: {} for matching in detectors}
    for name in task.tests:
        test = task.load_test(name)
        if name == "id":
            warn_of_leaks(task, test)
        with progress_bar(f"{workdir} {name}", len(detectors) * len(test.images)) as advance:
            for matching, detector in detectors.items():
                tested[matching][name] = _test(detector, test, name=name, advance=advance)
    trained = train_seconds(Path(workdir))
    return [_evaluation(config, task, matching, steps, results, trained) for matching, results in tested.items()]


class _Matching(NamedTuple):
    kind: str
    alpha: float | None  # None without matching


def _detectors(
    workdir: str | Path, config: ConfigDict, task: Task, alphas: Sequence[float] | None
) -> tuple[dict[_Matching, Detector], int]:
    """A detector for each matching and alpha, and the steps of training. Those of one matching share their program."""
    if alphas is not None and not (len(alphas) and all(0 <= alpha <= 1 for alpha in alphas)):
        raise ValueError(f"alphas: got {list(alphas)}, expected one or more numbers in [0, 1]")
    kinds = config.eval.matching
    detectors, steps = {}, 0
    for kind in (kinds,) if isinstance(kinds, str) else kinds:
        detector, steps = restore_detector(workdir, matching=kind, config=config, task=task)
        if kind == "none":
            detectors[_Matching(kind, None)] = detector
        elif alphas is None:
            detectors[_Matching(kind, config.eval.alpha)] = detector
        else:
            for alpha in map(float, alphas):
                variables = {**detector.variables, "alpha": jnp.float32(alpha)}
                detectors[_Matching(kind, alpha)] = dataclasses.replace(detector, variables=variables)
    return detectors, steps


def _evaluation(config, task, matching: _Matching, steps, results: dict[str, "_Tested"], trained: float) -> Evaluation:
    tests = {name: result.scored for name, result in results.items()}
    metrics = dict.fromkeys(metric for result in results.values() for metric in result.pixel)
    row = evaluation_row(
        config,
        task,
        matching=matching.kind,
        alpha=matching.alpha,
        steps=steps,
        tests=tests,
        pixel={m: {name: r.pixel[m] for name, r in results.items() if m in r.pixel} for m in metrics},
        seconds={"train": trained, "score": sum(result.seconds for result in results.values())},
    )
    return Evaluation(row, tests, [item for result in results.values() for item in result.gallery])


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
            mask=test.mask(i),
        )
        for i, score_map in zip(chosen, () if maps is None else maps)
    ]
    return _Tested(scored, pixel_metrics(*test.pixels(prediction.map), name=name), gallery, seconds)


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


def gallery_choice(score: np.ndarray, anomalous: np.ndarray) -> np.ndarray:
    """Indices of four telling images: the median and the highest-scored normal one, the median and lowest anomalous.

    score: floats [n]; anomalous: bool [n].
    """
    normal, defective = (np.flatnonzero(anomalous == flag) for flag in (False, True))
    normal = normal[np.argsort(score[normal], kind="stable")]
    defective = defective[np.argsort(score[defective], kind="stable")]
    return np.array([normal[len(normal) // 2], normal[-1], defective[len(defective) // 2], defective[0]])
