"""MVTec LOCO for TFDS, one configuration for each of its five categories."""

import os
from collections.abc import Iterator

import tensorflow_datasets as tfds

from gnl_jax.data.builders.categories import category_info, check_masks, configurations, examples, report
from gnl_jax.data.files import ImageFiles, normal_files
from gnl_jax.data.layouts import SPLITS, split_layout
from gnl_jax.data.listing import list_images

# Images in train/good, test/good and the other folders of test: 1,772, 575 and 993 in all.
PUBLISHED = {
    "breakfast_box": (351, 102, 173),
    "juice_bottle": (335, 94, 236),
    "pushpins": (372, 138, 172),
    "screw_bag": (360, 122, 219),
    "splicing_connectors": (354, 119, 193),
}


class MvtecLoco(tfds.core.GeneratorBasedBuilder):
    """The splits "train", "validation" and "test" of a category, in the order of the file names.

    Features as `category_info`. The masks of an image, one for each defect, are joined, and their values, which say
    what the saturation of the sPRO metric is, become 255.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = configurations(PUBLISHED)
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "The folder into which the published archive was extracted, with breakfast_box/train/good/."
    )

    def _info(self) -> tfds.core.DatasetInfo:
        return category_info(
            self,
            description="Industrial objects with structural and logical anomalies.",
            homepage="https://www.mvtec.com/company/research/datasets/mvtec-loco",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        """Raises `ValueError` for a folder that is not laid out as published."""
        category = self.builder_config.name
        folder = os.path.join(dl_manager.manual_dir, category)
        paths = list_images(folder)
        layout = split_layout(folder, paths, SPLITS["MVTec LOCO"])
        check_masks(folder, layout.test)
        report(f"mvtec_loco {category}", layout, PUBLISHED[category])
        validation = normal_files(folder, [path for path in paths if path.startswith("validation/good/")])
        splits = {"train": layout.train, "validation": validation, "test": layout.test}
        return {split: self._generate_examples(files, split) for split, files in splits.items()}

    def _generate_examples(self, files: ImageFiles, split: str) -> Iterator[tuple[int, dict]]:
        return examples(files, what=f"mvtec_loco {self.builder_config.name} {split}")
