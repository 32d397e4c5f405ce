"""CIFAR-10, read from a small folder in TFDS's format."""

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image
from prepared_files import image_feature, label_feature, png, text_feature, write_prepared

from gnl_jax.data.cifar10 import cifar10_task
from gnl_jax.data.load import load_task
from gnl_jax.images.corruptions import CORRUPTIONS, corrupt, corruption_rng

LABELS = {"train": [5, 0, 5, 9, 5], "test": [9, 5, 1, 5]}  # 5 is "dog"


def picture(split, index):
    return np.random.default_rng([len(split), index]).integers(0, 256, (32, 32, 3), np.uint8)


def config(**changes):
    fields = {"name": "cifar10", "normal": "dog", "size": 64, "resize": 0, "filter": "bilinear", "severity": 2}
    fields |= {"shifts": ("contrast",), "limit_train": 2, "limit_test": 0}
    return ConfigDict(fields | changes)


@pytest.fixture
def root(tmp_path):
    splits = {
        split: [
            {"id": f"{split}_{i:05d}".encode(), "image": png(picture(split, i)), "label": label}
            for i, label in enumerate(labels)
        ]
        for split, labels in LABELS.items()
    }
    features = {"id": text_feature(), "image": image_feature(32, 32, 3), "label": label_feature(10)}
    write_prepared(tmp_path / "cifar10" / "3.0.2", splits, features=features)
    return str(tmp_path)


def test_the_normal_class_of_the_training_split_is_learned(root):
    task = cifar10_task(root, "dog", shifts=())
    assert task.train_names == ("train/00000", "train/00002", "train/00004")
    np.testing.assert_array_equal(task.train, [picture("train", i) for i in (0, 2, 4)])


def test_the_test_split_and_its_corruptions_are_one_vs_all(root):
    task = cifar10_task(root, "dog", seed=7)
    assert list(task.tests) == ["id", *CORRUPTIONS]
    assert task.load_test("id").anomalous.tolist() == [True, False, True, False]
    np.testing.assert_array_equal(task.load_test("id").images, [picture("test", i) for i in range(4)])
    for shift in CORRUPTIONS:
        test = task.load_test(shift)
        expected = [corrupt(corruption_rng(7, f"test/0000{i}"), picture("test", i), shift, 5) for i in range(4)]
        np.testing.assert_array_equal(test.images, expected)
        assert test.anomalous.tolist() == [True, False, True, False]


def test_an_image_keeps_its_noise_in_a_subset(root):
    whole, part = (
        cifar10_task(root, "dog", shifts=("gaussian_noise",), seed=2, limit_test=n).load_test("gaussian_noise")
        for n in (0, 2)
    )
    assert part.names != whole.names[:2]
    assert sorted(part.anomalous.tolist()) == [False, True]
    for name, image in zip(part.names, part.images):
        np.testing.assert_array_equal(image, whole.images[whole.names.index(name)])


def test_the_configuration_reaches_the_task_and_the_resize_follows_the_corruption(root):
    task = load_task(config(root=root), seed=3)
    assert task.train.shape == (2, 64, 64, 3)
    corrupted = Image.fromarray(corrupt(corruption_rng(3, "test/00001"), picture("test", 1), "contrast", 2))
    expected = np.asarray(corrupted.resize((64, 64), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(task.load_test("contrast").images[1], expected)


def test_the_centre_of_images_enlarged_by_lanczos(root):
    """As torchvision does it, in one call of Pillow: square images are the same in two."""
    task = load_task(config(root=root, size=61, resize=72, filter="lanczos", limit_train=0), seed=3)

    def enlarged(image):  # round(11 / 2) is 6
        large = Image.fromarray(image).resize((72, 72), Image.Resampling.LANCZOS)
        return np.asarray(large.crop((6, 6, 67, 67)))

    np.testing.assert_array_equal(task.train[1], enlarged(picture("train", 2)))
    np.testing.assert_array_equal(task.load_test("id").images, [enlarged(picture("test", i)) for i in range(4)])
    corrupted = corrupt(corruption_rng(3, "test/00001"), picture("test", 1), "contrast", 2)
    np.testing.assert_array_equal(task.load_test("contrast").images[1], enlarged(corrupted))


def test_what_is_wrong_is_named(root, tmp_path):
    with pytest.raises(ValueError, match=r"'cifar10' has no class 'cow', expected one of .*'airplane'"):
        cifar10_task(root, "cow")
    with pytest.raises(ValueError, match=r"'cifar10' has no \['fog'\]"):
        cifar10_task(root, "dog", shifts=("fog",))
    with pytest.raises(ValueError, match=r"dataset\.root: no prepared data in '.*none/cifar10/3\.0\.2'"):
        cifar10_task(str(tmp_path / "none"), "dog")
