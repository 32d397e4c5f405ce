"""MVTec AD and PACS as `gnl_jax.data.builders` prepared them, read as if they were the folders they came from."""

import dataclasses
import os
from collections.abc import Mapping

from gnl_jax.data.layouts import ImageFiles, Layout, mvtec_layout
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
        return self.records.__getitems__([self.index])[0][self.feature]


def prepared_mvtec(root: str, category: str) -> Layout | None:
    """A category at `root/mvtec_ad/category/1.0.0`, as `mvtec_layout`; None where nothing is prepared."""
    folder = os.path.join(root, "mvtec_ad", category, VERSION)
    if not is_prepared(folder):
        return None
    files = _files(folder)
    train, test = (opened(part, files) for part in mvtec_layout(folder, sorted(files, key=os.fsencode)))
    masks = tuple(
        dataclasses.replace(path, feature="mask") if defect else None for path, defect in zip(test.paths, test.defects)
    )
    return Layout(train, test._replace(masks=masks))


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

    files = {}
    for split in tfds.builder_from_directory(folder).info.splits:
        records = open_split(folder, split)
        examples = read_examples(records, range(len(records)), what=f"{folder} {split} names")
        for index, example in enumerate(examples):
            name = example["name"].decode()
            files[name] = RecordFile(folder, name, records, index)
    return files
