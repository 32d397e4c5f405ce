"""VisA for TFDS, one configuration for each of its twelve products."""

import os
from collections.abc import Iterator

import tensorflow_datasets as tfds

from gnl_jax.data.builders.categories import category_info, check_masks, configurations, examples, report
from gnl_jax.data.files import ImageFiles
from gnl_jax.data.listing import list_images
from gnl_jax.data.visa import visa_layout

# Images that train, normal and anomalous ones that test in split_csv/1cls.csv: 8,659, 962 and 1,200 in all.
PUBLISHED = {
    "candle": (900, 100, 100),
    "capsules": (542, 60, 100),
    "cashew": (450, 50, 100),
    "chewinggum": (453, 50, 100),
    "fryum": (450, 50, 100),
    "macaroni1": (900, 100, 100),
    "macaroni2": (900, 100, 100),
    "pcb1": (904, 100, 100),
    "pcb2": (901, 100, 100),
    "pcb3": (905, 101, 100),
    "pcb4": (904, 101, 100),
    "pipe_fryum": (450, 50, 100),
}


class Visa(tfds.core.GeneratorBasedBuilder):
    """The splits "train" and "test" of a product by the table split_csv/1cls.csv, in the order of the file names.

    Features as `category_info`; `defect` is "good" or "anomaly".
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = configurations(PUBLISHED)
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "The folder into which the published archive was extracted, with candle/Data/ and split_csv/1cls.csv."
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return category_info(
            self,
            description="Printed circuit boards, capsules, candles and food, with and without defects.",
            homepage="https://github.com/amazon-science/spot-diff",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        """Raises `ValueError` for a folder that is not laid out as published."""
        product = self.builder_config.name
        folder = os.path.join(dl_manager.manual_dir, product)
        layout = visa_layout(folder, list_images(folder))
        check_masks(folder, layout.test)
        report(f"visa {product}", layout, PUBLISHED[product])
        return {split: self._generate_examples(files, split) for split, files in zip(("train", "test"), layout)}

    def _generate_examples(self, files: ImageFiles, split: str) -> Iterator[tuple[int, dict]]:
        return examples(files, what=f"visa {self.builder_config.name} {split}")
