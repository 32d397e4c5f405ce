"""Benchmarks as `gnl_jax.data.builders` prepared them, read as if they were the folders they came from."""

import dataclasses
import os
from collections.abc import Mapping, Sequence

from gnl_jax.data.files import ImageFiles, Layout
from gnl_jax.data.naming import GOOD
from gnl_jax.data.tfds import Records, is_prepared, open_split, read_examples

VERSION = "1.0.0"


@dataclasses.dataclass(frozen=True)
class RecordFile:
    """An encoded image of a prepared split, in place of a file: `os.fspath` for messages, `read_bytes` to read it."""

    folder: str
    name: str
    records: Records
    index: int
    feature: str = "image"

    def __fspath__(self) -> str:
        return f"{self.folder}: {self.name}"

    def read_bytes(self) -> bytes:
        """The encoded image as it is stored."""
        return self.records.__getitems__([self.index])[0][self.feature]


def prepared_category(root: str, dataset: str, category: str) -> Layout | None:
    """A category at `root/dataset/category/1.0.0`, as its folder would give it; None where nothing is prepared.

    Raises:
        ValueError: a dataset without the splits "train" and "test".
    """
    folder = os.path.join(root, dataset, category, VERSION)
    if not is_prepared(folder):
        return None
    train, test = (_split(folder, split) for split in ("train", "test"))
    bad = [kind not in ("", GOOD) for _, kind in test]
    masks = tuple(
        (dataclasses.replace(file, feature="mask"),) if defective else () for (file, _), defective in zip(test, bad)
    )
    return Layout(
        ImageFiles(*_columns([file for file, _ in train]), ("",) * len(train)),
        ImageFiles(
            *_columns([file for file, _ in test]),
            tuple(kind if defective else "" for (_, kind), defective in zip(test, bad)),
            masks,
        ),
    )


def prepared_pacs(root: str) -> dict[str, RecordFile]:
    """The images at `root/pacs/1.0.0` by their name, "<domain>/<class>/<file>"; empty where nothing is prepared."""
    folder = os.path.join(root, "pacs", VERSION)
    return _files(folder) if is_prepared(folder) else {}


def opened(files: ImageFiles, records: Mapping[str, RecordFile]) -> ImageFiles:
    """The same images, read from records instead of files; unchanged where there are no records."""
    return files._replace(paths=tuple(records[name] for name in files.names)) if records else files


def _files(folder: str) -> dict[str, RecordFile]:
    """Every image of every split by its name."""
    import tensorflow_datasets as tfds

    splits = tfds.builder_from_directory(folder).info.splits
    return {file.name: file for split in splits for file, _ in _split(folder, split)}


def _split(folder: str, split: str) -> list[tuple[RecordFile, str]]:
    """The images of a split, sorted by name, with what is said of the defect of each."""
    records = open_split(folder, split)
    examples = read_examples(records, range(len(records)), what=f"{folder} {split} names")
    found = []
    for index, example in enumerate(examples):
        file = RecordFile(folder, example["name"].decode(), records, index)
        found.append((file, example.get("defect", b"").decode()))
    return sorted(found, key=lambda item: os.fsencode(item[0].name))


def _columns(files: Sequence[RecordFile]) -> tuple[tuple[RecordFile, ...], tuple[str, ...]]:
    return tuple(files), tuple(file.name for file in files)
