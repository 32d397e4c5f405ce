"""MVTec AD for TFDS, one configuration for each of its 15 categories."""

import os
from collections.abc import Iterator

import tensorflow_datasets as tfds

from gnl_jax.data.builders.categories import category_info, check_masks, configurations, examples, report
from gnl_jax.data.files import ImageFiles
from gnl_jax.data.layouts import SPLITS, split_layout
from gnl_jax.data.listing import list_images

# Images in train/good, test/good and the other folders of test: 3,629 and 1,725 in all, as in the GNL paper.
PUBLISHED = {
    "bottle": (209, 20, 63),
    "cable": (224, 58, 92),
    "capsule": (219, 23, 109),
    "carpet": (280, 28, 89),
    "grid": (264, 21, 57),
    "hazelnut": (391, 40, 70),
    "leather": (245, 32, 92),
    "metal_nut": (220, 22, 93),
    "pill": (267, 26, 141),
    "screw": (320, 41, 119),
    "tile": (230, 33, 84),
    "toothbrush": (60, 12, 30),
    "transistor": (213, 60, 40),
    "wood": (247, 19, 60),
    "zipper": (240, 32, 119),
}


class MvtecAd(tfds.core.GeneratorBasedBuilder):
    """The splits "train" and "test" of a category, in the order of the file names; features as `category_info`."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = configurations(PUBLISHED)
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The folder into which the published archive was extracted, with bottle/train/good/."

    def _info(self) -> tfds.core.DatasetInfo:
        return category_info(
            self,
            description="Industrial objects and textures, with and without defects.",
            homepage="https://www.mvtec.com/company/research/datasets/mvtec-ad",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        """Raises `ValueError` for a folder that is not laid out as published."""
        category = self.builder_config.name
        folder = os.path.join(dl_manager.manual_dir, category)
        layout = split_layout(folder, list_images(folder), SPLITS["MVTec AD"])
        check_masks(folder, layout.test)
        report(f"mvtec_ad {category}", layout, PUBLISHED[category])
        return {split: self._generate_examples(files, split) for split, files in zip(("train", "test"), layout)}

    def _generate_examples(self, files: ImageFiles, split: str) -> Iterator[tuple[int, dict]]:
        return examples(files, what=f"mvtec_ad {self.builder_config.name} {split}")
