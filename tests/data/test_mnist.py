"""MNIST and MNIST-M, read from small folders in the published formats."""

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image
from prepared_files import image_feature, label_feature, png, write_prepared

from gnl_jax.data.load import load_task
from gnl_jax.data.mnist import mnist_task, read_labels

LABELS = {"train": [3, 1, 3, 4, 0, 3], "test": [3, 5, 1, 3, 9]}
MNIST_M_LABELS = [7, 3, 1, 3]


def digit(split, index):
    return np.random.default_rng([len(split), index]).integers(0, 256, (28, 28), np.uint8)


def resized(array):
    return np.asarray(Image.fromarray(array).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR))


def write_mnist(folder, *, broken=None):
    """The folder that TFDS prepares for MNIST, with a handful of images."""
    splits = {
        split: [
            {"image": b"no image" if (split, index) == broken else png(digit(split, index)), "label": label}
            for index, label in enumerate(labels)
        ]
        for split, labels in LABELS.items()
    }
    write_prepared(folder, splits, features={"image": image_feature(28, 28, 1), "label": label_feature(10)})


@pytest.fixture
def mnist(tmp_path):
    write_mnist(tmp_path / "tfds" / "mnist" / "3.0.1")
    return str(tmp_path / "tfds")


@pytest.fixture
def mnist_m(tmp_path):
    folder = tmp_path / "mnist_m"
    (folder / "mnist_m_test").mkdir(parents=True)
    for index in range(len(MNIST_M_LABELS)):
        Image.fromarray(colour(index)).save(folder / "mnist_m_test" / f"{index:08d}.png")
    lines = [f"{index:08d}.png {label}\n" for index, label in enumerate(MNIST_M_LABELS)]
    (folder / "mnist_m_test_labels.txt").write_text("".join(lines))
    return folder


def colour(index):
    return np.random.default_rng(index).integers(0, 256, (32, 32, 3), np.uint8)


def test_the_normal_digits_of_the_training_split_are_learned(mnist):
    task = mnist_task(mnist, "3", shifts=())
    assert task.train_names == ("train/00000", "train/00002", "train/00005")
    np.testing.assert_array_equal(task.train, [resized(digit("train", index)) for index in (0, 2, 5)])
    even = mnist_task(mnist, "even", shifts=())
    assert even.train_names == ("train/00003", "train/00004")


def test_the_test_split_is_one_vs_all(mnist):
    test = mnist_task(mnist, "3", shifts=()).load_test("id")
    assert test.anomalous.tolist() == [False, True, True, False, True]
    np.testing.assert_array_equal(test.images, [resized(digit("test", index)) for index in range(5)])


def test_mnist_m_is_the_shifted_test_set(mnist, mnist_m):
    task = mnist_task(mnist, "3", mnist_m=str(mnist_m))
    assert list(task.tests) == ["id", "mnist_m"]
    test = task.load_test("mnist_m")
    assert test.anomalous.tolist() == [True, False, True, False]
    np.testing.assert_array_equal(test.images, [colour(index) for index in range(4)])
    assert test.names[0] == "00000000.png"


def test_the_configuration_reaches_the_task(mnist, mnist_m):
    config = ConfigDict(
        {
            "name": "mnist", "normal": "3", "size": 64, "resize": 70, "filter": "lanczos", "root": mnist,
            "mnist_m": str(mnist_m),
            "shifts": ("mnist_m",), "severity": 3, "limit_train": 2, "limit_test": 3,
        }
    )  # fmt: skip
    task = load_task(config, seed=0)
    assert task.train.shape == (2, 64, 64, 3)
    for name in ("id", "mnist_m"):
        test = task.load_test(name)
        assert test.images.shape == (3, 64, 64, 3)
        assert len(set(test.anomalous.tolist())) == 2
    large = Image.fromarray(colour(int(test.names[0][:8]))).resize((70, 70), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(test.images[0], np.asarray(large)[3:67, 3:67])


def test_a_missing_folder_is_an_error_before_anything_is_read_and_says_what_to_do(tmp_path, mnist, mnist_m):
    with pytest.raises(ValueError, match=r"dataset\.root: no prepared data in '.*nowhere/mnist/3.0.1'; prepare it"):
        mnist_task(str(tmp_path / "nowhere"), "3", shifts=())
    with pytest.raises(ValueError, match=r"dataset\.root: no prepared data"):
        mnist_task("", "3", shifts=())
    for folder in ("", str(tmp_path / "nowhere"), mnist):
        with pytest.raises(ValueError, match=rf"dataset\.mnist_m: no MNIST-M in '{folder}', expected .*mnist_m_test/"):
            mnist_task(mnist, "3", mnist_m=folder)


def test_data_that_needs_tensorflow_is_an_error_that_says_so(tmp_path, mnist):
    path = tmp_path / "tfds" / "mnist" / "3.0.1" / "dataset_info.json"
    path.write_text(path.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(ValueError, match=r"is in the format 'tfrecord'; prepare it .*file_format='array_record'"):
        mnist_task(mnist, "3", shifts=())


SHORT_HEADER = png(colour(1)).replace(b"\0\0\0\rIHDR", b"\0\0\0\5IHDR")  # Pillow: not an OSError


@pytest.mark.parametrize("damage", [b"", b"GIF nonsense", png(colour(1))[:200], SHORT_HEADER, None])
def test_a_broken_image_is_named(mnist, mnist_m, damage):
    path = mnist_m / "mnist_m_test" / "00000001.png"
    path.unlink() if damage is None else path.write_bytes(damage)
    task = mnist_task(mnist, "3", mnist_m=str(mnist_m))
    with pytest.raises(ValueError, match=r"'.*mnist_m_test/00000001\.png'"):
        task.load_test("mnist_m")


def test_a_broken_record_is_named(tmp_path):
    write_mnist(tmp_path / "mnist" / "3.0.1", broken=("train", 2))
    with pytest.raises(ValueError, match="'MNIST train 2': not a PNG"):
        mnist_task(str(tmp_path), "3", shifts=())


@pytest.mark.parametrize("line", ["a.png", "a.png ten", "a.png 10", "a.png 1 2", "a.png -1"])
def test_a_line_that_is_no_label_is_named(tmp_path, line):
    path = tmp_path / "labels.txt"
    path.write_text(f"b.png 4\n\n{line}\n")
    with pytest.raises(ValueError, match=rf"labels\.txt:3: got '{line}', expected a file name and a digit"):
        read_labels(path)


def test_unknown_class_and_shift_list_the_valid_ones(mnist):
    with pytest.raises(ValueError, match="'mnist' has no class '10'"):
        mnist_task(mnist, "10")
    with pytest.raises(ValueError, match=r"'mnist' has no \['photo'\], expected some of \['mnist_m'\]"):
        mnist_task(mnist, "1", shifts=("photo",))
