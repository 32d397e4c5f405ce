"""CIFAR-10 from a prepared TFDS folder, with corruptions of its test split as the shifted test sets."""

import functools
from collections.abc import Sequence

import numpy as np

from gnl_jax.data.protocol import Task, check_shifts, normal_labels
from gnl_jax.data.tfds import labelled_images, normal_images, open_split, record_name
from gnl_jax.images.corruptions import CORRUPTIONS, corrupt, corruption_rng
from gnl_jax.images.resize import Geometry

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
VERSION = "cifar10/3.0.2"


def cifar10_task(
    root: str,
    normal: str,
    *,
    size: int | Geometry = 32,
    shifts: Sequence[str] = CORRUPTIONS,
    severity: int = 5,
    seed: int = 0,
    limit_train: int = 0,
    limit_test: int = 0,
) -> Task:
    """One class of CIFAR-10's training split is normal; tested on the test split and on corruptions of it.

    Images are corrupted at their own 32x32 pixels, whatever the size they are then resized to.

    Args:
        root: folder that holds `cifar10/3.0.2`, as TFDS prepares it in the format `array_record`.
        normal: a member of `CLASSES`.
        size: side of the images in pixels, or their geometry.
        shifts: of the test set; members of `CORRUPTIONS`.
        severity: of the corruptions, 1 to 5. Paper: 5.
        seed: of the noise and of the random subsets.
        limit_train, limit_test: sizes of random subsets; 0 for all.

    Raises:
        ValueError: unknown `normal` or shift (the valid ones are listed), a missing folder or a broken record.
    """
    check_shifts(shifts, CORRUPTIONS, dataset="cifar10")
    normals = normal_labels(normal, CLASSES, dataset="cifar10")
    records, test_records = (open_split(root, split, dataset=VERSION) for split in ("train", "test"))
    train, kept = normal_images(records, normals, size, what="CIFAR-10 train", seed=seed, limit=limit_train)
    test = functools.partial(
        labelled_images, test_records, normals, size, what="CIFAR-10 test", seed=seed, limit=limit_test
    )

    def corrupted(image: np.ndarray, index: int, *, shift: str) -> np.ndarray:
        return corrupt(corruption_rng(seed, record_name("test", index)), image, shift, severity)

    changes = {shift: functools.partial(corrupted, shift=shift) for shift in shifts}
    return Task(
        dataset="cifar10",
        normal=normal,
        train=train,
        tests={"id": test} | {shift: functools.partial(test, change=changes[shift]) for shift in shifts},
        train_names=tuple(record_name("train", i) for i in kept),
    )
