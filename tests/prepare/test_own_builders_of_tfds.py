"""MNIST and CIFAR-10 as TFDS's own builders prepare them, from small raw files, read without TensorFlow."""

from unittest import mock

import numpy as np
import pytest
import tensorflow_datasets as tfds
from benchmark_folders import pixels

from gnl_jax.data import cifar10
from gnl_jax.data.cifar10 import cifar10_task
from gnl_jax.data.mnist import mnist_task
from gnl_jax.images.resize import resize

MNIST = {"train": [3, 0, 3, 9, 3, 7], "test": [9, 3, 1, 3]}


def prepare(name, data_dir, extracted):
    builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
    with mock.patch.object(tfds.download.DownloadManager, "download_and_extract", return_value=extracted):
        builder.download_and_prepare()


def sorted_by_content(images):
    return sorted(image.tobytes() for image in images)


@pytest.fixture
def mnist(tmp_path):
    files = {}
    for split, labels in MNIST.items():
        digits = [pixels(split, i, shape=(28, 28)) for i in range(len(labels))]
        files |= {f"{split}_data": tmp_path / f"{split}_images", f"{split}_labels": tmp_path / f"{split}_labels"}
        files[f"{split}_data"].write_bytes(bytes(16) + b"".join(digit.tobytes() for digit in digits))
        files[f"{split}_labels"].write_bytes(bytes(8) + bytes(labels))
    module = "tensorflow_datasets.image_classification.mnist"
    counts = {f"_{split.upper()}_EXAMPLES": len(labels) for split, labels in MNIST.items()}
    with mock.patch.multiple(module, **counts):
        prepare("mnist", tmp_path, files)
    return str(tmp_path)


def test_mnist(mnist):
    task = mnist_task(mnist, "3", shifts=())
    expected = [resize(np.repeat(pixels("train", i, shape=(28, 28, 1)), 3, axis=2), 32) for i in (0, 2, 4)]
    assert sorted_by_content(task.train) == sorted_by_content(expected)  # TFDS has shuffled them
    test = task.load_test("id")
    assert sorted(test.anomalous) == [False, False, True, True]
    normal = [resize(np.repeat(pixels("test", i, shape=(28, 28, 1)), 3, axis=2), 32) for i in (1, 3)]
    assert sorted_by_content(test.images[~test.anomalous]) == sorted_by_content(normal)


def test_cifar10(tmp_path):
    folder = tmp_path / "raw" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    (folder / "batches.meta.txt").write_text("\n".join(cifar10.CLASSES) + "\n")
    for batch in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
        rows = [bytes([label]) + pixels(batch, label).transpose(2, 0, 1).tobytes() for label in (5, 8)]
        (folder / f"{batch}.bin").write_bytes(b"".join(rows))
    prepare("cifar10", tmp_path, str(tmp_path / "raw"))
    task = cifar10_task(str(tmp_path), "dog", shifts=())
    assert sorted_by_content(task.train) == sorted_by_content([pixels(f"data_batch_{i}", 5) for i in range(1, 6)])
    test = task.load_test("id")
    np.testing.assert_array_equal(test.images[~test.anomalous], [pixels("test_batch", 5)])
    np.testing.assert_array_equal(test.images[test.anomalous], [pixels("test_batch", 8)])
