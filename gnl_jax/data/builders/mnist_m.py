"""MNIST-M for TFDS: as published, or made anew from MNIST and photographs."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds

from gnl_jax.data.builders.content import image_content, png, report_counts
from gnl_jax.data.digits import CLASSES
from gnl_jax.data.listing import list_images
from gnl_jax.data.mnist import VERSION as MNIST
from gnl_jax.data.mnist import read_labels
from gnl_jax.data.pixels import ImageError, read_image
from gnl_jax.data.progress import progress
from gnl_jax.data.tfds import open_split, split_images, split_labels

PUBLISHED = {"train": 59001, "test": 9001}
SIDES = {"published": 32, "synthetic": 28}  # of the images, in pixels
SEED = 42  # of the synthesis


class MnistM(tfds.core.GeneratorBasedBuilder):
    """The splits "train" and "test"; for the configuration "published" those that are there.

    Features: `image`, `label`, and `name`: the file name in the published data, the position in TFDS's MNIST otherwise.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = (
        tfds.core.BuilderConfig(name="published", description="The published images, 32x32 pixels."),
        tfds.core.BuilderConfig(name="synthetic", description="Made from MNIST and photographs, 28x28 pixels."),
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "published: the folder of the unpacked archive, with mnist_m_test/ and mnist_m_test_labels.txt, "
        "and mnist_m_train likewise, or one of the two. "
        "synthetic: a folder of photographs, such as BSDS500's 200 of the training part; and MNIST, "
        f"prepared in the format array_record as {MNIST} in the same data_dir."
    )

    def _info(self) -> tfds.core.DatasetInfo:
        side = SIDES[self.builder_config.name]
        return tfds.core.DatasetInfo(
            builder=self,
            description="Handwritten digits, each subtracted from a patch of a photograph.",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(side, side, 3)),
                    "label": tfds.features.ClassLabel(names=list(CLASSES)),
                    "name": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        """Raises `ValueError` for a folder that holds neither part, or no photographs."""
        folder = os.fspath(dl_manager.manual_dir)
        if self.builder_config.name == "synthetic":
            photographs = [os.path.join(folder, path) for path in list_images(folder)]
            return {split: self._synthetic_examples(photographs, split) for split in PUBLISHED}
        splits = [split for split in PUBLISHED if _listing(folder, split).is_file()]
        if not splits:
            raise ValueError(f"{folder!r}: neither mnist_m_train_labels.txt nor mnist_m_test_labels.txt")
        return {split: self._generate_examples(folder, split) for split in splits}

    def _generate_examples(self, folder: str, split: str) -> Iterator[tuple[int, dict]]:
        names, labels = read_labels(_listing(folder, split))
        if repeated := [name for name, count in Counter(names).items() if count > 1]:
            raise ValueError(f"{str(_listing(folder, split))!r}: {repeated[0]!r} is listed more than once")
        report_counts("mnist_m", {split: len(names)}, {split: PUBLISHED[split]})
        what = f"mnist_m {split}"
        for index, (name, label) in progress(enumerate(zip(names, labels)), total=len(names), what=what):
            path = os.path.join(folder, f"mnist_m_{split}", name)
            image, shape = image_content(path)
            if shape != (SIDES["published"],) * 2:
                raise ImageError(f"{path!r}: an image of {shape} pixels, expected 32x32")
            yield index, {"image": image, "label": int(label), "name": name}

    def _synthetic_examples(self, photographs: Sequence[str], split: str) -> Iterator[tuple[int, dict]]:
        side, what = SIDES["synthetic"], f"MNIST {split}"
        records = open_split(self.data_dir_root, split, dataset=MNIST, field="data_dir")
        labels = split_labels(records, what=what)
        digits = split_images(records, np.arange(len(records)), side, what=what)
        images = synthesise(digits, photographs, rng=np.random.default_rng([SEED, list(PUBLISHED).index(split)]))
        rows = zip(images, labels)
        for index, (image, label) in progress(enumerate(rows), total=len(labels), what=f"mnist_m {split}"):
            yield index, {"image": png(image), "label": int(label), "name": f"{split}/{index:05d}"}


def synthesise(digits: np.ndarray, photographs: Sequence[str], *, rng: np.random.Generator) -> np.ndarray:
    """|patch - digit| per pixel and channel: each digit, made black and white, on a random patch of a photograph.

    One photograph is in memory at a time.

    Args:
        digits: uint8 [n s s 3].
        photographs: image files, larger than the digits.
        rng: draws the photographs of all digits, then the upper left corners of all patches.

    Returns:
        uint8 [n s s 3].

    Raises:
        ImageError: a photograph that cannot be read or is too small; it is named.
    """
    side, images = digits.shape[1], np.empty_like(digits)
    choice = rng.integers(len(photographs), size=len(digits))
    corners = rng.random((len(digits), 2))
    for number, path in progress(enumerate(photographs), total=len(photographs), what="photographs"):
        photograph = read_image(path)
        room = np.array(photograph.shape[:2]) - side
        if room.min() < 1:
            raise ImageError(f"{path!r}: {photograph.shape[:2]} pixels, expected more than {side} on each side")
        for index in np.flatnonzero(choice == number):
            top, left = (corners[index] * room).astype(np.int64)
            patch = photograph[top : top + side, left : left + side]
            images[index] = np.where(digits[index] > 0, 255 - patch, patch)  # published code: not black is white
    return images


def _listing(folder: str, split: str) -> Path:
    return Path(folder) / f"mnist_m_{split}_labels.txt"
