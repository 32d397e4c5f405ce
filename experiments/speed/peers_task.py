"""What `peers.py` compares methods on: the same images for each, one threshold rule, and what their scores say."""

import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

from gnl_jax.data.listing import list_images
from gnl_jax.data.load import folder_options
from gnl_jax.data.reading import load_images
from gnl_jax.detection.fit import divide
from gnl_jax.detection.grouping import part_names
from gnl_jax.detection.options import FitOptions
from gnl_jax.detection.parts import GoodImages, good_images, largest_by_part
from gnl_jax.detection.threshold import make_rule
from gnl_jax.evaluation.metrics import auroc

GOOD = "good"  # name of the subfolder of good images


class Condition(NamedTuple):
    """A test folder.

    Attributes:
        images: uint8 [n s s 3].
        anomalous: bool [n].
        parts: the part that each image shows.
    """

    images: np.ndarray
    anomalous: np.ndarray
    parts: tuple[str, ...]


class Task(NamedTuple):
    """Images of good parts that fit and that calibrate, as `gnl_jax.fit` divides them, and the test folders."""

    fitting: GoodImages
    calibrating: GoodImages
    conditions: Mapping[str, Condition]


def read_task(
    good: str, conditions: Mapping[str, str], *, dataset: ConfigDict, calibration: int | None, group_by: str, seed: int
) -> Task:
    """Reads and divides the images as `gnl_jax.fit` does with the same options.

    Args:
        good: folder of good images.
        conditions: name to a folder with good/ and a folder for each kind of defect.
        dataset: that group of a configuration: size, and how files are read.
        calibration: number of parts that calibrate; None for the default of `gnl_jax.fit`.
        group_by: which images show the same part (`part_names`).
        seed: of the division.

    Raises:
        ValueError: a folder or file that cannot be used, a test folder without good or without defective images, too
            few images; it is named.
    """
    images = good_images(good, dataset, group_by=group_by)
    options = FitOptions(calibration=calibration, group_by=group_by)
    fitting, calibrating, *_ = divide(images, options, seed=seed, say=lambda sentence: None)
    tests = {name: read_condition(root, dataset=dataset, group_by=group_by) for name, root in conditions.items()}
    return Task(fitting, calibrating, tests)


def read_condition(root: str, *, dataset: ConfigDict, group_by: str) -> Condition:
    """One test folder; errors as `read_task`."""
    names = list_images(root)
    anomalous = np.array([name.split("/")[0] != GOOD for name in names])
    if anomalous.all() or not anomalous.any():
        found = sorted({name.split("/")[0] for name in names})
        raise ValueError(f"{root!r}: got images in {', '.join(found)}, expected some in {GOOD}/ and some elsewhere")
    dataset = dataset.copy_and_resolve_references()
    dataset.root = root
    options = folder_options(dataset, seed=0)
    paths = [os.path.join(root, name) for name in names]
    reading = {"white": options.white, "alpha": options.alpha, "cache_dir": options.cache_dir}
    loaded = load_images(paths, options.size, what=root, **reading)
    return Condition(loaded.images, anomalous, part_names(names, group_by, root=root))


def write_images(task: Task, folder: Path) -> dict[str, str]:
    """Writes each set of images as a .npy file -> its name ("fit", "calibration", "condition NAME") to its path."""
    sets = {"fit": task.fitting.images, "calibration": task.calibrating.images}
    sets |= {f"condition {name}": condition.images for name, condition in task.conditions.items()}
    paths = {}
    for i, (name, images) in enumerate(sets.items()):
        paths[name] = os.fspath(folder / f"images_{i}.npy")
        np.save(paths[name], images)
    return paths


def judge(scores: Mapping[str, Sequence[float]], task: Task, *, rate: Fraction) -> dict[str, Any]:
    """What scores of the calibration images and of each condition say, with the same threshold rule for any method.

    The threshold is the k-th largest score of the n calibration parts, k = floor(rate (n + 1)), so that it flags at
    most that share of good parts on average. A part's score is the largest of its images'; AUROC is of images.

    Args:
        scores: floats for "calibration" and each "condition NAME", higher is more anomalous.
        task: what was scored.
        rate: of false alarms.

    Raises:
        RateError: too few calibration parts for the rate.
        ValueError: a score that is not finite.
    """
    calibration = largest_by_part(np.array(scores["calibration"]), task.calibrating.parts)
    threshold = make_rule(rate, len(calibration)).threshold(calibration)
    return {
        "threshold": threshold,
        "conditions": {
            name: _judge_one(np.array(scores[f"condition {name}"]), condition, threshold)
            for name, condition in task.conditions.items()
        },
    }


def _judge_one(scores: np.ndarray, condition: Condition, threshold: float) -> dict[str, Any]:
    found: dict[str, Any] = {"auroc": auroc(scores, condition.anomalous)}
    parts = np.array(condition.parts)
    for flagged, total, chosen in (
        ("false_alarms", "good", ~condition.anomalous),
        ("detected", "defective", condition.anomalous),
    ):
        largest = largest_by_part(scores[chosen], parts[chosen])
        found |= {flagged: int((largest > threshold).sum()), total: len(largest)}
    return found
