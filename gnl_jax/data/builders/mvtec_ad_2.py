"""MVTec AD 2 for TFDS, one configuration for each of its eight categories; the part that is labelled."""

import os
from collections.abc import Iterator

import tensorflow_datasets as tfds

from gnl_jax.data.builders.categories import category_info, check_masks, configurations, examples, report
from gnl_jax.data.files import ImageFiles, normal_files
from gnl_jax.data.layouts import SPLITS, split_layout
from gnl_jax.data.listing import list_images

CATEGORIES = ("can", "fabric", "fruit_jelly", "rice", "sheet_metal", "vial", "wallplugs", "walnuts")


class MvtecAd2(tfds.core.GeneratorBasedBuilder):
    """The splits "train", "validation" and "test" (test_public) of a category, in the order of the file names.

    Features as `category_info`. test_private and test_private_mixed have no labels and are left out.
    """

    name = "mvtec_ad_2"
    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = configurations(dict.fromkeys(CATEGORIES))
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The folder into which the published archive was extracted, with can/train/good/."

    def _info(self) -> tfds.core.DatasetInfo:
        return category_info(
            self,
            description="Industrial objects and textures under several lights; the labelled part.",
            homepage="https://www.mvtec.com/company/research/datasets/mvtec-ad-2",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        """Raises `ValueError` for a folder that is not laid out as published."""
        category = self.builder_config.name
        folder = os.path.join(dl_manager.manual_dir, category)
        paths = list_images(folder)
        layout = split_layout(folder, paths, SPLITS["MVTec AD 2"])
        check_masks(folder, layout.test)
        report(f"mvtec_ad_2 {category}", layout, None)
        validation = normal_files(folder, [path for path in paths if path.startswith("validation/good/")])
        splits = {"train": layout.train, "validation": validation, "test": layout.test}
        return {split: self._generate_examples(files, split) for split, files in splits.items()}

    def _generate_examples(self, files: ImageFiles, split: str) -> Iterator[tuple[int, dict]]:
        return examples(files, what=f"mvtec_ad_2 {self.builder_config.name} {split}")
