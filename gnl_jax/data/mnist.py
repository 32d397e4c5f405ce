"""MNIST from a prepared TFDS folder, with MNIST-M as the shifted test set."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gnl_jax.data.digits import CLASSES, GROUPS
from gnl_jax.data.pixels import read_image
from gnl_jax.data.progress import progress
from gnl_jax.data.protocol import LabelledImages, Task, check_shifts, limited, normal_labels, one_vs_all
from gnl_jax.data.tfds import is_prepared, labelled_images, normal_images, open_split, record_name
from gnl_jax.images.resize import Geometry, resize

SHIFTS = ("mnist_m",)
VERSION = "mnist/3.0.1"


def mnist_task(
    root: str,
    normal: str,
    *,
    mnist_m: str = "",
    size: int | Geometry = 32,
    shifts: Sequence[str] = SHIFTS,
    seed: int = 0,
    limit_train: int = 0,
    limit_test: int = 0,
) -> Task:
    """One digit (or "even", or "odd") of MNIST's training split is normal; tested on both test splits.

    Args:
        root: folder that holds `mnist/3.0.1`, as TFDS prepares it in the format `array_record`.
        normal: "0" to "9", "even" or "odd".
        mnist_m: for the shift "mnist_m", a folder that holds `mnist_m_test` and `mnist_m_test_labels.txt`; or
            one that `gnl_jax.data.builders` prepared, such as `ROOT/mnist_m/published/1.0.0`.
        size: side of the images in pixels, or their geometry. Paper: 28, at which the published networks fail;
            hence 32.
        shifts: members of `SHIFTS`.
        seed: of the random subsets.
        limit_train, limit_test: sizes of random subsets; 0 for all.

    Raises:
        ValueError: unknown `normal` or shift (the valid ones are listed), a missing folder or a broken file.
    """
    check_shifts(shifts, SHIFTS, dataset="mnist")
    normals = normal_labels(normal, CLASSES, groups=GROUPS, dataset="mnist")
    if "mnist_m" in shifts:
        check_mnist_m(mnist_m)  # now, not after the training
    records, test = (open_split(root, split, dataset=VERSION) for split in ("train", "test"))
    train, kept = normal_images(records, normals, size, what="MNIST train", seed=seed, limit=limit_train)
    loaders = {
        "id": functools.partial(labelled_images, test, normals, size, what="MNIST test", seed=seed, limit=limit_test),
        "mnist_m": functools.partial(load_mnist_m, mnist_m, normals=normals, size=size, seed=seed, limit=limit_test),
    }
    return Task(
        dataset="mnist",
        normal=normal,
        train=train,
        tests={name: loaders[name] for name in ("id", *shifts)},
        train_names=tuple(record_name("train", i) for i in kept),
    )


def check_mnist_m(folder: str) -> None:
    """Raises `ValueError` where there is neither the test part of MNIST-M as published nor as TFDS prepares it."""
    listing = Path(folder) / "mnist_m_test_labels.txt"
    published = listing.is_file() and (Path(folder) / "mnist_m_test").is_dir()
    if not folder or not (published or is_prepared(folder)):
        raise ValueError(
            f"dataset.mnist_m: no MNIST-M in {folder!r}, expected the published archive unpacked there, "
            "with mnist_m_test/ and mnist_m_test_labels.txt; or leave 'mnist_m' out of dataset.shifts"
        )


def load_mnist_m(folder: str, *, normals: np.ndarray, size: int | Geometry, seed: int, limit: int) -> LabelledImages:
    """MNIST-M's test part; arguments as for `mnist_task`, `normals` the normal labels.

    Raises:
        ValueError: a missing folder, a line that cannot be read, a file that is missing or not an image.
    """
    check_mnist_m(folder)
    if is_prepared(folder):
        records = open_split(folder, "test", field="dataset.mnist_m")
        return labelled_images(records, normals, size, what="MNIST-M test", seed=seed, limit=limit)
    names, labels = read_labels(Path(folder) / "mnist_m_test_labels.txt")
    kept = limited(~np.isin(labels, normals), limit, seed=seed)
    side = Geometry.of(size).size
    images = np.empty((len(kept), side, side, 3), np.uint8)
    for row, index in enumerate(progress(kept, total=len(kept), what="MNIST-M test")):
        images[row] = resize(read_image(Path(folder) / "mnist_m_test" / names[index]), size)
    return one_vs_all(images, labels[kept], normals, names=[names[i] for i in kept])


def read_labels(path: Path) -> tuple[list[str], np.ndarray]:
    """File names, and labels int64 [n] of 0..9, from lines "NAME LABEL"; `ValueError` names any other line."""
    names, labels = [], []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        match line.split():
            case [name, label] if label in CLASSES:
                names.append(name)
                labels.append(int(label))
            case []:
                pass
            case _:
                raise ValueError(f"{path}:{number}: got {line!r}, expected a file name and a digit")
    return names, np.array(labels, np.int64)
