"""From the configuration's group `dataset` to a task."""

import functools
from collections.abc import Callable

from ml_collections import ConfigDict

from gnl_jax.data.cifar10 import cifar10_task
from gnl_jax.data.digits import digits_task
from gnl_jax.data.folder import CATEGORIES, FolderOptions, category_task, folder_task, pacs_task
from gnl_jax.data.mnist import mnist_task
from gnl_jax.data.pixels import Alpha
from gnl_jax.data.protocol import Task
from gnl_jax.images.resize import Geometry


def load_task(dataset: ConfigDict, *, seed: int) -> Task:
    """Loads what `config.dataset` describes.

    Args:
        dataset: that group of a configuration; `name` is a key of `DATASETS`.
        seed: of shifts and subsets.

    Raises:
        ValueError: an unknown or impossible value; the field and the valid choices are named.
    """
    if dataset.name not in DATASETS:
        raise ValueError(f"dataset.name: got {dataset.name!r}, expected one of {list(DATASETS)}")
    if dataset.severity not in range(1, 6):
        raise ValueError(f"dataset.severity: got {dataset.severity}, expected 1 to 5")
    for field in ("limit_train", "limit_test"):
        if dataset[field] < 0:
            raise ValueError(f"dataset.{field}: got {dataset[field]}, expected 0 (all) or more")
    return DATASETS[dataset.name](dataset, seed)


def _digits(dataset: ConfigDict, seed: int) -> Task:
    return digits_task(dataset.normal, severity=dataset.severity, **_common(dataset, seed))


def _mnist(dataset: ConfigDict, seed: int) -> Task:
    return mnist_task(dataset.root, dataset.normal, mnist_m=dataset.mnist_m, **_common(dataset, seed))


def _cifar10(dataset: ConfigDict, seed: int) -> Task:
    return cifar10_task(dataset.root, dataset.normal, severity=dataset.severity, **_common(dataset, seed))


def _folder(dataset: ConfigDict, seed: int) -> Task:
    return folder_task(dataset.root, normal=dataset.normal, bad=dataset.bad, options=folder_options(dataset, seed))


def _category(name: str, dataset: ConfigDict, seed: int) -> Task:
    return category_task(name, dataset.root, dataset.normal, options=folder_options(dataset, seed))


def _pacs(dataset: ConfigDict, seed: int) -> Task:
    return pacs_task(dataset.root, dataset.normal, ood=dataset.ood, options=folder_options(dataset, seed))


def folder_options(dataset: ConfigDict, seed: int) -> FolderOptions:
    """How a folder of images is read; `ValueError` names a field without a meaning."""
    if not dataset.root:
        raise ValueError("dataset.root: got '', expected the folder of the images")
    same = ("severity", "shifted", "corrupt_at", "skip_unreadable", "memory_mb")
    return FolderOptions(
        white=dataset.white or None,
        alpha=parse_alpha(dataset.alpha),
        cache_dir=None if dataset.cache == "default" else dataset.cache,
        **{field: dataset[field] for field in same},
        **_common(dataset, seed),
    )


def parse_alpha(text: str) -> Alpha:
    """What `dataset.alpha` says: "error", "drop" or a colour such as "255,255,255"; ValueError for anything else."""
    if text in ("error", "drop"):
        return text
    colour = tuple(int(part) if part.strip().isdecimal() else -1 for part in text.split(","))
    if len(colour) != 3 or not all(value in range(256) for value in colour):
        raise ValueError(f"dataset.alpha: got {text!r}, expected 'error', 'drop' or a colour such as '255,255,255'")
    return colour


def _common(dataset: ConfigDict, seed: int) -> dict:
    fields = ("shifts", "limit_train", "limit_test")
    return {"seed": seed, "size": _geometry(dataset)} | {field: dataset[field] for field in fields}


def _geometry(dataset: ConfigDict) -> Geometry:
    try:
        return Geometry(dataset.size, dataset.resize, dataset.filter)
    except ValueError as error:
        raise ValueError(f"dataset.{error}") from error


DATASETS: dict[str, Callable[[ConfigDict, int], Task]] = {
    "digits": _digits,
    "mnist": _mnist,
    "cifar10": _cifar10,
    "pacs": _pacs,
    **{name: functools.partial(_category, name) for name in CATEGORIES},
    "folder": _folder,
}
