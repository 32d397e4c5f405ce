"""Labelled images from folders that TFDS has prepared in the format `array_record`; TensorFlow is not needed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gnl_jax.data.pixels import read_image
from gnl_jax.data.progress import progress
from gnl_jax.data.protocol import LabelledImages, limited, one_vs_all
from gnl_jax.images.resize import Geometry, resize

ENCODED = ("image", "mask")  # features that stay files, so that labels are quick to read


class Records(Protocol):
    """Random access to the examples of a split, such as {"image": bytes of an image file, "label": int}."""

    def __len__(self) -> int: ...

    def __getitems__(self, indices: Sequence[int], /) -> Sequence[Mapping[str, Any]]: ...


def is_prepared(folder: str | Path) -> bool:
    """Whether TFDS has prepared data in a folder, whatever its format."""
    return (Path(folder) / "dataset_info.json").is_file()


def open_split(root: str | Path, split: str, *, dataset: str = "", field: str = "dataset.root") -> Records:
    """Opens a prepared split; images and masks stay encoded.

    Args:
        root: the folder that holds the datasets.
        split: its name.
        dataset: the folder below `root`, such as "mnist/3.0.1"; "" if `root` is that folder itself.
        field: of the configuration that gave `root`, for messages.

    Raises:
        ValueError: no prepared data there, in a format that needs TensorFlow, or without such a split.
    """
    folder, name = Path(root) / dataset, dataset.partition("/")[0] or "NAME"
    advice = (
        f"prepare it once where TensorFlow is installed: experiments/prepare.py --dataset={name} --data_dir=ROOT, or "
        f"tensorflow_datasets.builder({name!r}, data_dir=ROOT, file_format='array_record').download_and_prepare()"
    )
    if not root or not is_prepared(folder):
        raise ValueError(f"{field}: no prepared data in {str(folder)!r}; {advice}")
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    if builder.info.file_format is not tfds.core.FileFormat.ARRAY_RECORD:
        found = builder.info.file_format.value
        raise ValueError(f"{field}: the data in {str(folder)!r} is in the format {found!r}; {advice}")
    if split not in builder.info.splits:
        raise ValueError(f"{field}: no split {split!r} in {str(folder)!r}, found {sorted(builder.info.splits)}")
    skip = {feature: tfds.decode.SkipDecoding() for feature in ENCODED if feature in builder.info.features}
    return builder.as_data_source(split=split, decoders=skip)


def read_examples(records: Records, indices: Sequence[int] | np.ndarray, *, what: str) -> Iterator[Mapping[str, Any]]:
    """Yields examples in order, behind a progress bar that says what is read."""
    chunk = 1000  # six times faster than one at a time, and little memory
    starts = range(0, len(indices), chunk)
    for start in progress(starts, total=len(starts), what=what):
        yield from records.__getitems__([int(i) for i in indices[start : start + chunk]])


def split_labels(records: Records, *, what: str) -> np.ndarray:
    """The labels of a split, int64 [n]."""
    examples = read_examples(records, range(len(records)), what=f"{what} labels")
    return np.array([example["label"] for example in examples], np.int64)


def split_images(
    records: Records,
    indices: np.ndarray,
    size: int | Geometry,
    *,
    what: str,
    change: Callable[[np.ndarray, int], np.ndarray] | None = None,
) -> np.ndarray:
    """Decodes some images of a split, grey repeated to three channels, and resizes them.

    Args:
        records: the split.
        indices: of the images, [n].
        size: side of the result in pixels, or its geometry.
        what: is being read, for messages and the progress bar.
        change: (uint8 [h w 3], index) -> uint8 [h w 3], done before the resize.

    Returns:
        uint8 [n s s 3].

    Raises:
        ImageError: a record that is no usable image; it is named.
    """
    side = Geometry.of(size).size
    images = np.empty((len(indices), side, side, 3), np.uint8)
    for row, example in enumerate(read_examples(records, indices, what=what)):
        image = read_image(example["image"], name=f"{what} {indices[row]}")
        images[row] = resize(image if change is None else change(image, int(indices[row])), size)
    return images


def normal_images(
    records: Records, normals: np.ndarray, size: int | Geometry, *, what: str, seed: int, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """The images of a split that can be learned from: those of the normal labels.

    Args:
        records, size, what: as for `split_images`.
        normals: the normal labels, [k].
        seed, limit: of a random subset; a limit of 0 for all.

    Returns:
        (uint8 [n s s 3], their positions in the split int64 [n]).
    """
    kept = np.flatnonzero(np.isin(split_labels(records, what=what), normals))
    kept = kept[limited(np.zeros(len(kept), bool), limit, seed=seed)]
    return split_images(records, kept, size, what=what), kept


def labelled_images(
    records: Records,
    normals: np.ndarray,
    size: int | Geometry,
    *,
    what: str,
    seed: int,
    limit: int,
    change: Callable[[np.ndarray, int], np.ndarray] | None = None,
) -> LabelledImages:
    """A split as a test set, one-vs-all; arguments as for `normal_images` and `split_images`."""
    labels = split_labels(records, what=what)
    kept = limited(~np.isin(labels, normals), limit, seed=seed)
    images = split_images(records, kept, size, what=what, change=change)
    return one_vs_all(images, labels[kept], normals, names=[record_name("test", i) for i in kept])


def record_name(split: str, index: int) -> str:
    """The name of an image; with the seed it decides the image's noise."""
    return f"{split}/{index:05d}"
