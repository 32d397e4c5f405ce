"""The embedded digits: exact values, the split, and shifts that can be recomputed from their definition."""

from fractions import Fraction

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from gnl_jax.data.digits import SHIFTS, digit_images, digits_task
from gnl_jax.data.load import load_task
from gnl_jax.data.protocol import leak_check
from gnl_jax.images.corruptions import CORRUPTIONS, corrupt, corruption_rng
from gnl_jax.images.resize import Geometry, resize

DATA = load_digits()


def config(**changes):
    fields = {"name": "digits", "normal": "3", "size": 32, "root": "", "mnist_m": "", "severity": 3}
    fields |= {"shifts": ("photo", "contrast"), "limit_train": 0, "limit_test": 0, "resize": 0, "filter": "bilinear"}
    return ConfigDict(fields | changes)


def test_pixels_are_the_scaled_values_rounded_half_up_and_enlarged_by_pillow():
    images, labels = digit_images()
    np.testing.assert_array_equal(labels, DATA.target)
    scale = np.array([int(Fraction(255 * v, 16) + Fraction(1, 2)) for v in range(17)], np.uint8)
    assert scale[[0, 1, 8, 16]].tolist() == [0, 16, 128, 255]  # 255/16 = 15.9, 127.5 rounds up
    for index in range(0, 1797, 100):
        small = Image.fromarray(scale[DATA.images[index].astype(int)])
        large = np.asarray(small.resize((32, 32), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(images[index], np.stack([large] * 3, axis=-1))


def test_every_fifth_image_of_each_class_is_test():
    expected_test, seen = [], dict.fromkeys(range(10), 0)
    for index, label in enumerate(DATA.target):
        if seen[label] % 5 == 0:
            expected_test.append(index)
        seen[label] += 1
    task = digits_task("3")
    test = task.load_test("id")
    assert test.names == tuple(f"digits/{i:05d}" for i in expected_test)
    np.testing.assert_array_equal(test.anomalous, DATA.target[expected_test] != 3)
    train = [i for i in range(1797) if DATA.target[i] == 3 and i not in expected_test]
    assert task.train_names == tuple(f"digits/{i:05d}" for i in train)
    np.testing.assert_array_equal(task.train, digit_images()[0][train])
    assert (len(train), len(test.images), int((~test.anomalous).sum())) == (146, 364, 37)


@pytest.mark.parametrize("normal", ["0", "8", "even"])
def test_no_training_image_is_tested_on(normal):
    task = digits_task(normal)
    assert leak_check(task.train, task.load_test("id").images) == []


def test_even_digits_can_be_the_normal_ones():
    task = digits_task("even")
    indices = [int(name[-5:]) for name in task.train_names]
    assert set(DATA.target[indices].tolist()) == {0, 2, 4, 6, 8}
    test = task.load_test("id")
    labels = DATA.target[[int(name[-5:]) for name in test.names]]
    np.testing.assert_array_equal(test.anomalous, labels % 2 == 1)


def test_the_photo_shift_is_the_distance_to_some_patch_of_a_photograph():
    task = digits_task("3", seed=7, limit_test=6)
    clean, shifted = task.load_test("id"), task.load_test("photo")
    assert clean.names == shifted.names
    photos = load_sample_images().images
    for digit, result in zip(clean.images.astype(int), shifted.images, strict=True):
        black = digit[..., 0] == 0  # where the photograph shows through unchanged
        assert black[0, 0]
        corners = (
            (photo, top, left)
            for photo in photos
            for top, left in np.argwhere((photo == result[0, 0]).all(axis=2))
            if top <= photo.shape[0] - 32 and left <= photo.shape[1] - 32
        )
        patches = (photo[top : top + 32, left : left + 32] for photo, top, left in corners)
        (found,) = [patch for patch in patches if (patch[black] == result[black]).all()]
        np.testing.assert_array_equal(result, np.abs(found.astype(int) - digit))


def test_corruptions_are_those_of_the_image_its_name_and_the_seed():
    task = digits_task("3", seed=5, severity=4, shifts=CORRUPTIONS, limit_test=5)
    clean = task.load_test("id")
    for shift in CORRUPTIONS:
        shifted = task.load_test(shift)
        for image, result, name in zip(clean.images, shifted.images, shifted.names, strict=True):
            np.testing.assert_array_equal(result, corrupt(corruption_rng(5, name), image, shift, 4))


@pytest.mark.parametrize("shift", ["photo", "gaussian_noise"])
def test_a_shift_depends_on_the_seed_and_the_image_alone(shift):
    everything = digits_task("3", seed=1).load_test(shift)
    some = digits_task("3", seed=1, limit_test=20).load_test(shift)
    where = [everything.names.index(name) for name in some.names]
    np.testing.assert_array_equal(some.images, everything.images[where])
    assert (digits_task("3", seed=2).load_test(shift).images != everything.images).any()


def test_a_larger_size_enlarges_the_very_same_shifted_images():
    small, large = (digits_task("3", size=size, shifts=("gaussian_noise",), limit_test=4) for size in (32, 64))
    for name in ("id", "gaussian_noise"):
        enlarged = [resize(image, 64) for image in small.load_test(name).images]
        np.testing.assert_array_equal(large.load_test(name).images, enlarged)
    assert large.train.shape[1:] == (64, 64, 3)


def test_the_configuration_says_how_images_become_squares():
    images = digits_task("3", shifts=("photo",), seed=4, limit_test=3).load_test("photo").images
    for size, side, kind in ((28, 0, "bilinear"), (28, 35, "lanczos")):
        task = load_task(config(limit_train=2, limit_test=3, size=size, resize=side, filter=kind), seed=4)
        assert task.train.shape == (2, 28, 28, 3)
        expected = [resize(image, Geometry(size, side, kind)) for image in images]
        np.testing.assert_array_equal(task.load_test("photo").images, expected)


def test_the_configuration_reaches_the_task():
    task = load_task(config(limit_train=9, limit_test=12, size=64), seed=4)
    assert (task.dataset, task.normal, task.train.shape) == ("digits", "3", (9, 64, 64, 3))
    assert list(task.tests) == ["id", "photo", "contrast"]
    assert len(task.load_test("id").images) == 12
    mine = digits_task("3", size=64, shifts=("photo",), severity=3, seed=4, limit_train=9, limit_test=12)
    np.testing.assert_array_equal(task.train, mine.train)
    np.testing.assert_array_equal(task.load_test("photo").images, mine.load_test("photo").images)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "digit"}, r"dataset\.name: got 'digit', expected one of \['digits', 'mnist'"),
        ({"normal": "ten"}, r"no class 'ten', expected one of \['0', .*'odd'\]"),
        ({"shifts": ("fog",)}, rf"no \['fog'\], expected some of \['{SHIFTS[0]}', '{SHIFTS[1]}'"),
        ({"size": 0}, r"dataset\.size: got 0, expected 1 or more"),
        ({"resize": 31}, r"dataset\.resize: got 31, expected 0 or at least the size 32"),
        ({"resize": -1}, r"dataset\.resize: got -1"),
        ({"filter": "cubic"}, r"dataset\.filter: got 'cubic', expected one of bilinear, lanczos"),
        ({"severity": 6}, r"dataset\.severity: got 6, expected 1 to 5"),
        ({"limit_test": -1}, r"dataset\.limit_test: got -1"),
        ({"limit_train": -2}, r"dataset\.limit_train: got -2"),
    ],
)
def test_an_impossible_configuration_names_field_and_choices(changes, message):
    with pytest.raises(ValueError, match=message):
        load_task(config(**changes), seed=0)
