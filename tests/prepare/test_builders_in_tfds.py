"""The builders in TFDS's own test case, with the format array_record."""

import tempfile
from pathlib import Path

import benchmark_folders as folders
import numpy as np
import tensorflow_datasets as tfds
from prepared_files import image_feature, label_feature, png, write_prepared

from gnl_jax.data import builders

MVTEC_SPLITS = {
    split: sum(n for folder, n in folders.MVTEC.items() if folder.startswith(split)) for split in ("train", "test")
}
MNIST_M_SPLITS = {split: len(labels) for split, labels in folders.MNIST_M.items()}


class ArrayRecord:
    """TFDS's test case, but for `as_dataset`, which this format does not have: examples come from `as_data_source`."""

    @classmethod
    def setUpClass(cls):
        temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(temporary.cleanup)
        cls.EXAMPLE_DIR = cls.write_source(Path(temporary.name))
        super().setUpClass()

    def _make_builder(self, config=None):
        self.prepare_before(Path(self.tmp_dir))
        return self.dataset_class(data_dir=self.tmp_dir, config=config, file_format="array_record")

    @staticmethod
    def prepare_before(data_dir):
        pass

    def _assertAsDataset(self, builder):
        for split, n in self.SPLITS.items():
            examples = list(builder.as_data_source(split))
            assert len(examples) == n
            for example in examples:
                assert example.keys() == builder.info.features.keys()
                for name, feature in builder.info.features.items():
                    if isinstance(feature, tfds.features.Image):
                        assert example[name].dtype == np.uint8
                        tfds.core.utils.assert_shape_match(example[name].shape, feature.shape)


class TestMvtecAd(ArrayRecord, tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = builders.MvtecAd
    BUILDER_CONFIG_NAMES_TO_TEST = ("bottle", "zipper")
    SPLITS = MVTEC_SPLITS

    @staticmethod
    def write_source(root):
        return folders.write_mvtec(folders.write_mvtec(root), "zipper")


class TestMvtecLoco(ArrayRecord, tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = builders.MvtecLoco
    BUILDER_CONFIG_NAMES_TO_TEST = ("pushpins",)
    SPLITS = {"train": 3, "validation": 1, "test": 4}  # noqa: RUF012
    write_source = staticmethod(folders.write_mvtec_loco)


class TestMvtecAd2(ArrayRecord, tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = builders.MvtecAd2
    BUILDER_CONFIG_NAMES_TO_TEST = ("vial",)
    SPLITS = {"train": 3, "validation": 1, "test": 3}  # noqa: RUF012
    write_source = staticmethod(folders.write_mvtec_ad_2)


class TestVisa(ArrayRecord, tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = builders.Visa
    BUILDER_CONFIG_NAMES_TO_TEST = ("pcb3",)
    SPLITS = {"train": 2, "test": 2}  # noqa: RUF012
    write_source = staticmethod(folders.write_visa)


class TestPacs(ArrayRecord, tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = builders.Pacs
    SPLITS = {  # noqa: RUF012
        domain: sum(n for folder, n in folders.PACS.items() if folder.startswith(domain))
        for domain in ("photo", "cartoon", "sketch")
    }
    write_source = staticmethod(folders.write_pacs)


class TestPublishedMnistM(ArrayRecord, tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = builders.MnistM
    BUILDER_CONFIG_NAMES_TO_TEST = ("published",)
    SPLITS = MNIST_M_SPLITS
    write_source = staticmethod(folders.write_mnist_m)


class TestSyntheticMnistM(ArrayRecord, tfds.testing.DatasetBuilderTestCase):
    DATASET_CLASS = builders.MnistM
    BUILDER_CONFIG_NAMES_TO_TEST = ("synthetic",)
    SPLITS = MNIST_M_SPLITS
    write_source = staticmethod(folders.write_photographs)

    @staticmethod
    def prepare_before(data_dir):
        if not (data_dir / "mnist").exists():
            splits = {
                split: [
                    {"image": png(folders.pixels(split, i, shape=(28, 28))), "label": label}
                    for i, label in enumerate(labels)
                ]
                for split, labels in folders.MNIST_M.items()
            }
            features = {"image": image_feature(28, 28, 1), "label": label_feature(10)}
            write_prepared(data_dir / "mnist" / "3.0.1", splits, features=features)
