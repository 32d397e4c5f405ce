"""MNIST from a prepared TFDS folder, with MNIST-M from its published folder as the shifted test set."""

import functools
import io
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from gnl_jax.data.digits import CLASSES, GROUPS
from gnl_jax.data.protocol import LabelledImages, Task, check_shifts, limited, normal_labels, one_vs_all
from gnl_jax.images.resize import resize

SHIFTS = ("mnist_m",)
VERSION = "mnist/3.0.1"


class Records(Protocol):
    """Random access to the examples of a split: {"image": bytes of a PNG file, "label": int}."""

    def __len__(self) -> int: ...

    def __getitems__(self, indices: Sequence[int], /) -> Sequence[Mapping[str, Any]]: ...


def mnist_task(
    root: str,
    normal: str,
    *,
    mnist_m: str = "",
    size: int = 32,
    shifts: Sequence[str] = SHIFTS,
    seed: int = 0,
    limit_train: int = 0,
    limit_test: int = 0,
) -> Task:
    """One digit (or "even", or "odd") of MNIST's training split is normal; tested on both test splits.

    Args:
        root: folder that holds `mnist/3.0.1`, as TFDS prepares it in the format `array_record`.
        normal: "0" to "9", "even" or "odd".
        mnist_m: folder that holds `mnist_m_test` and `mnist_m_test_labels.txt`; for the shift "mnist_m".
        size: side of the images in pixels. Paper: 28, at which the published networks fail; hence 32.
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
    records = open_split(root, "train")
    labels = split_labels(records)
    train = np.flatnonzero(np.isin(labels, normals))
    train = train[limited(np.zeros(len(train), bool), limit_train, seed=seed)]
    mine = {"normals": normals, "size": size, "seed": seed, "limit": limit_test}
    loaders = {
        "id": functools.partial(load_test_split, root, **mine),
        "mnist_m": functools.partial(load_mnist_m, mnist_m, **mine),
    }
    return Task(
        dataset="mnist",
        normal=normal,
        train=split_images(records, train, size, what="MNIST train"),
        tests={name: loaders[name] for name in ("id", *shifts)},
        train_names=tuple(f"train/{i:05d}" for i in train),
    )


def open_split(root: str, split: str) -> Records:
    """Opens a prepared split, without TensorFlow; images stay encoded, so that labels are quick to read.

    Args:
        root: folder that holds `mnist/3.0.1`.
        split: "train" or "test".

    Raises:
        ValueError: no prepared data there, or in a format that needs TensorFlow.
    """
    folder = Path(root) / VERSION
    advice = (
        "prepare it once where TensorFlow is installed: tensorflow_datasets.builder("
        "'mnist:3.0.1', data_dir=ROOT, file_format='array_record').download_and_prepare()"
    )
    if not root or not (folder / "dataset_info.json").is_file():
        raise ValueError(f"dataset.root: no prepared MNIST in {str(folder)!r}; {advice}")
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    if builder.info.file_format is not tfds.core.FileFormat.ARRAY_RECORD:
        found = builder.info.file_format.value
        raise ValueError(f"dataset.root: MNIST in {str(folder)!r} is in format {found!r}; {advice}")
    return builder.as_data_source(split=split, decoders={"image": tfds.decode.SkipDecoding()})


def read_examples(records: Records, indices: Sequence[int], *, what: str) -> Iterator[Mapping[str, Any]]:
    """Yields examples in order, behind a progress bar that says what is read."""
    chunk = 1000  # six times faster than one at a time, and little memory
    for start in progress(range(0, len(indices), chunk), what=what):
        yield from records.__getitems__([int(i) for i in indices[start : start + chunk]])


def split_labels(records: Records) -> np.ndarray:
    """The labels of a split, int64 [n]."""
    examples = read_examples(records, range(len(records)), what="MNIST labels")
    return np.array([example["label"] for example in examples], np.int64)


def split_images(records: Records, indices: np.ndarray, size: int, *, what: str) -> np.ndarray:
    """Decodes some images of a split, grey repeated to three channels, and resizes them.

    Args:
        records: the split.
        indices: of the images, [n].
        size: side of the images in pixels.
        what: is being decoded, for the progress bar.

    Returns:
        uint8 [n size size 3].
    """
    images = np.empty((len(indices), size, size, 3), np.uint8)
    for row, example in enumerate(read_examples(records, indices, what=what)):
        images[row] = resize(read_rgb(io.BytesIO(example["image"]), name=f"{what} {indices[row]}"), size)
    return images


def load_test_split(root: str, *, normals: np.ndarray, size: int, seed: int, limit: int) -> LabelledImages:
    """MNIST's test split; arguments as in `mnist_task`, `normals` the normal labels."""
    records = open_split(root, "test")
    labels = split_labels(records)
    kept = limited(~np.isin(labels, normals), limit, seed=seed)
    images = split_images(records, kept, size, what="MNIST test")
    return one_vs_all(images, labels[kept], normals, names=[f"test/{i:05d}" for i in kept])


def check_mnist_m(folder: str) -> None:
    """Raises `ValueError` where the published folder layout of MNIST-M's test part is not there."""
    listing = Path(folder) / "mnist_m_test_labels.txt"
    if not folder or not listing.is_file() or not (Path(folder) / "mnist_m_test").is_dir():
        raise ValueError(
            f"dataset.mnist_m: no MNIST-M in {folder!r}, expected the published archive unpacked there, "
            "with mnist_m_test/ and mnist_m_test_labels.txt; or leave 'mnist_m' out of dataset.shifts"
        )


def load_mnist_m(folder: str, *, normals: np.ndarray, size: int, seed: int, limit: int) -> LabelledImages:
    """MNIST-M's test part: PNG files and a list of lines "NAME LABEL"; arguments as `load_test_split`.

    Raises:
        ValueError: a missing folder, a line that cannot be read, a file that is missing or not an image.
    """
    check_mnist_m(folder)
    names, labels = read_labels(Path(folder) / "mnist_m_test_labels.txt")
    kept = limited(~np.isin(labels, normals), limit, seed=seed)
    images = np.empty((len(kept), size, size, 3), np.uint8)
    for row, index in enumerate(progress(kept, what="MNIST-M test")):
        path = Path(folder) / "mnist_m_test" / names[index]
        images[row] = resize(read_rgb(path, name=str(path)), size)
    return one_vs_all(images, labels[kept], normals, names=[names[i] for i in kept])


def read_labels(path: Path) -> tuple[list[str], np.ndarray]:
    """File names, and labels int64 [n] of 0..9; `ValueError` names a line that is neither."""
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


def read_rgb(file: Path | io.BytesIO, *, name: str) -> np.ndarray:
    """Decodes one image, uint8 [h w 3]; `ValueError` gives the name of a missing or broken file."""
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow raises for damaged PNG files
        raise ValueError(f"cannot read the image {name!r}: {error}") from error


def progress(items: Sequence | np.ndarray, *, what: str) -> Iterable:
    """The items, behind a progress bar on standard error where that is a terminal."""
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, description=what, console=Console(stderr=True), transient=True)
