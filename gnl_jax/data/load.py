"""From the configuration's group `dataset` to a task."""

from collections.abc import Callable

from ml_collections import ConfigDict

from gnl_jax.data.cifar10 import cifar10_task
from gnl_jax.data.digits import digits_task
from gnl_jax.data.mnist import mnist_task
from gnl_jax.data.protocol import Task


def load_task(dataset: ConfigDict, *, seed: int) -> Task:
    """Loads what `config.dataset` describes.

    Args:
        dataset: fields `name` (a key of `DATASETS`), `normal`, `size` (pixels, a multiple of 32), `shifts`
            (tuple of names), `severity` (1 to 5), `limit_train` and `limit_test` (0 for all), and the folders
            that the dataset needs (`root`, `mnist_m`).
        seed: of shifts and subsets.

    Raises:
        ValueError: an unknown or impossible value; the field and the valid choices are named.
    """
    if dataset.name not in DATASETS:
        raise ValueError(f"dataset.name: got {dataset.name!r}, expected one of {list(DATASETS)}")
    if dataset.size < 32 or dataset.size % 32:
        raise ValueError(f"dataset.size: got {dataset.size}, expected a positive multiple of 32")
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


def _common(dataset: ConfigDict, seed: int) -> dict:
    fields = ("size", "shifts", "limit_train", "limit_test")
    return {"seed": seed} | {field: dataset[field] for field in fields}


DATASETS: dict[str, Callable[[ConfigDict, int], Task]] = {"digits": _digits, "mnist": _mnist, "cifar10": _cifar10}
