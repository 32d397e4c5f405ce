"""MVTec AD for TFDS, one configuration for each of its 15 categories."""

import os
from collections.abc import Iterator

import tensorflow_datasets as tfds

from gnl_jax.data.builders.content import image_content, mask_content, report_counts
from gnl_jax.data.layouts import GOOD, ImageFiles, mvtec_layout
from gnl_jax.data.listing import list_images
from gnl_jax.data.progress import progress

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
    """The splits "train" and "test" of a category, in the order of the file names.

    Features: `image` and `mask` as in the files, the mask black where there is no defect; `label` 0 for a normal image
    and 1 for an anomalous one; `defect`, the name of the folder; `name`, the path below the category.
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = tuple(
        tfds.core.BuilderConfig(name=name, description=f"The category {name}.") for name in PUBLISHED
    )
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The folder into which the published archive was extracted, with bottle/train/good/."

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description="Industrial objects and textures, with and without defects.",
            homepage="https://www.mvtec.com/company/research/datasets/mvtec-ad",
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(),
                    "mask": tfds.features.Image(shape=(None, None, 1)),
                    "label": tfds.features.ClassLabel(names=["normal", "anomalous"]),
                    "defect": tfds.features.Text(),
                    "name": tfds.features.Text(),
                }
            ),
            supervised_keys=("image", "label"),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        """Raises `ValueError` for a folder that is not laid out as published."""
        category = self.builder_config.name
        folder = os.path.join(dl_manager.manual_dir, category)
        train, test = mvtec_layout(folder, list_images(folder))
        if test.masks is None:
            raise ValueError(f"{folder!r}: no masks in ground_truth")
        good = test.defects.count("")
        found = dict(zip(_COUNTED, (len(train.paths), good, len(test.paths) - good)))
        report_counts(f"mvtec_ad {category}", found, dict(zip(_COUNTED, PUBLISHED[category])))
        return {"train": self._generate_examples(train, "train"), "test": self._generate_examples(test, "test")}

    def _generate_examples(self, files: ImageFiles, split: str) -> Iterator[tuple[int, dict]]:
        masks = files.masks or (None,) * len(files.paths)
        rows = enumerate(zip(files.paths, files.names, files.defects, masks))
        what = f"mvtec_ad {self.builder_config.name} {split}"
        for index, (path, name, defect, mask) in progress(rows, total=len(files.paths), what=what):
            image, shape = image_content(path)
            yield (
                index,
                {
                    "image": image,
                    "mask": mask_content(mask, shape),
                    "label": int(defect != ""),
                    "defect": defect or GOOD,
                    "name": name,
                },
            )


_COUNTED = ("train/good", "test/good", "test/<defect>")
