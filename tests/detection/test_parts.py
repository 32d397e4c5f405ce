"""Good images: no part on both sides, nothing twice, and enough on either side."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gnl_jax.config import default_config
from gnl_jax.detection.parts import (
    calibration_parts,
    check_distinct,
    good_images,
    largest_by_part,
    split_parts,
)


def dataset():
    dataset = default_config().dataset
    dataset.cache = ""
    return dataset


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for tile in range(4):
        for exposure in range(3):
            path = tmp_path / f"line {tile % 2}" / f"tile{tile}_exp{exposure}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (20 + tile, 30, 3), np.uint8)).save(path)
    return tmp_path


def test_a_folder_is_read_with_names_parts_and_hashes(folder):
    good = good_images(folder, dataset(), group_by=r"tile(\d+)")
    assert good.images.shape == (12, 32, 32, 3)
    assert good.names[0] == "line 0/tile0_exp0.png"
    assert sorted(set(good.parts)) == ["0", "1", "2", "3"]
    assert len(set(good.hashes)) == 12


def test_images_are_left_out_by_name_or_path(folder):
    exclude = ["line 0/tile0_exp0.png", str(folder / "line 1" / "tile1_exp1.png")]
    good = good_images(folder, dataset(), exclude=exclude)
    assert len(good.names) == 10
    assert not {"line 0/tile0_exp0.png", "line 1/tile1_exp1.png"} & set(good.names)


def test_copies_are_left_out(folder, caplog):
    (folder / "copy.png").write_bytes((folder / "line 0" / "tile0_exp0.png").read_bytes())
    good = good_images(folder, dataset())
    assert len(good.names) == 12
    assert "1 images are copies of others" in caplog.text


def test_the_folder_of_a_whole_data_set_is_refused(folder):
    image = (folder / "line 0" / "tile0_exp0.png").read_bytes()
    for name in ("train/good/1.png", "test/good/1.png", "test/broken/1.png", "ground_truth/broken/1_mask.png"):
        (folder / "set" / name).parent.mkdir(parents=True)
        (folder / "set" / name).write_bytes(image)
    message = r"set': holds ground_truth, test/broken, expected good images alone; give '.*set/train/good'"
    with pytest.raises(ValueError, match=message):
        good_images(folder / "set", dataset())
    assert good_images(folder / "set" / "train" / "good", dataset()).names == ("1.png",)


@pytest.mark.parametrize(("resize", "filter"), [(0, "bilinear"), (40, "lanczos")])
def test_arrays_of_any_size_become_the_squares_that_their_files_do(folder, resize, filter):
    options = dataset()
    options.resize, options.filter = resize, filter
    read = good_images(folder, options)
    arrays = [np.asarray(Image.open(folder / name)) for name in read.names]
    assert len({array.shape for array in arrays}) == 4
    good = good_images(arrays, options, exclude=["image 2"])
    assert good.names == tuple(f"image {i}" for i in range(12) if i != 2)
    np.testing.assert_array_equal(good.images, np.delete(read.images, 2, axis=0))
    alike = [i for i, array in enumerate(arrays) if array.shape == (20, 30, 3)]
    np.testing.assert_array_equal(good_images(np.stack([arrays[i] for i in alike]), options).images, read.images[alike])


def test_squares_of_the_right_size_are_taken_as_they_are():
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    np.testing.assert_array_equal(good_images(images, dataset()).images, images)
    np.testing.assert_array_equal(good_images(list(images), dataset()).images, images)
    assert good_images([], dataset()).images.shape == (0, 32, 32, 3)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((2, 32, 32, 3), np.float32), r"images: got float32 \[2, 32, 32, 3\], expected RGB, uint8"),
        (np.zeros((32, 32, 3), np.uint8), r"images: got uint8 \[32, 32, 3\], expected a folder, an array"),
        (np.zeros((2, 32, 32, 1), np.uint8), r"images: got uint8 \[2, 32, 32, 1\], expected RGB"),
        ([np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9), np.uint8)], r"image 1: got uint8 \[9, 9\], expected uint8"),
        ([np.zeros((1, 9, 9, 3), np.uint8)], r"image 0: got uint8 \[1, 9, 9, 3\], expected uint8 \[h w 3\]"),
        (["good/1.png"], "image 0: got str, expected a NumPy array"),
        (None, "images: got NoneType, expected a folder, an array"),
    ],
)
def test_other_arrays_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        good_images(wrong, dataset())


@given(st.lists(st.sampled_from("abcdefghij"), min_size=3, max_size=40), st.integers(0, 5))
def test_no_part_is_on_both_sides(parts, seed):
    n = len(set(parts)) // 2
    fit, calibration = split_parts(parts, n, seed=seed)
    assert sorted([*fit, *calibration]) == list(range(len(parts)))
    assert not {parts[i] for i in fit} & {parts[i] for i in calibration}
    assert len({parts[i] for i in calibration}) == n


def test_the_split_follows_the_seed():
    parts = [str(i) for i in range(50)]
    one, again, other = (split_parts(parts, 20, seed=seed)[1].tolist() for seed in (0, 0, 1))
    assert one == again != other


@pytest.mark.parametrize(
    ("n", "count"), [(18, 9), (20, 9), (37, 11), (38, 19), (60, 19), (178, 53), (198, 99), (400, 120), (5000, 399)]
)
def test_how_many_calibrate_by_default(n, count):
    assert calibration_parts(n) == count


def test_too_few_are_refused_with_the_number_it_takes():
    with pytest.raises(ValueError, match="got good images of 17 parts, expected at least 18: 9 to calibrate"):
        calibration_parts(17)
    with pytest.raises(ValueError, match="expected at least 108: 99 to calibrate"):
        calibration_parts(100, needed=99)
    assert calibration_parts(110, needed=99) == 99


def test_with_a_confidence_more_calibrate():
    assert calibration_parts(60, confidence=0.95) == 29
    assert calibration_parts(1000, confidence=0.95) == 300


def test_the_largest_value_of_each_part_ascending():
    values = np.array([3, 1, 2, 5], np.float32)
    assert largest_by_part(values, ("a", "b", "a", "b")).tolist() == [3, 5]


def test_images_known_already_are_named(folder):
    good = good_images(folder, dataset())
    with pytest.raises(ValueError, match=r"1 of 12 images were used for fitting, such as 'line 0/tile2_exp1.png'"):
        check_distinct(
            good.hashes, good.names, [good.hashes[good.names.index("line 0/tile2_exp1.png")]], what="used for fitting"
        )
    check_distinct(good.hashes, good.names, ["0" * 64], what="used for fitting")
