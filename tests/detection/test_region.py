"""A region belongs to the size it was drawn on; another size is an error, or stretches it by explicit choice."""

import numpy as np
import pytest
from fitted import config
from PIL import Image

from gnl_jax.data.decode import ImageError
from gnl_jax.detection.region import Region, check_frame_size, parse_roi, place_region


def write(folder, *sizes):
    folder.mkdir(exist_ok=True)
    for i, (width, height) in enumerate(sizes):
        Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(folder / f"{i}.png")
    return folder


def mask(path, width, height):
    values = np.zeros((height, width), np.uint8)
    values[:, : width // 2] = 255
    Image.fromarray(values).save(path)
    return path


def place(region, images, **options):
    return place_region(region, images, config().dataset, **options)


def test_a_rectangle_is_recorded_with_its_size(tmp_path):
    placed = place(Region(roi=(0, 0, 52, 33)), write(tmp_path / "in", (104, 66), (104, 66)))
    assert placed.record == {"roi": "(0, 0, 52, 33)", "mask": None, "size": [66, 104], "relative": False}
    assert placed.inside[:15, :15].all()
    assert not placed.inside[17:].any()
    array = place(Region(roi=(0, 0, 16, 32)), np.zeros((2, 32, 32, 3), np.uint8))
    np.testing.assert_array_equal(array.inside, np.arange(32)[None].repeat(32, 0) < 16)


def test_windows_take_a_rectangle_of_which_nothing_would_be_left():
    region, images = Region(roi=(1000, 1000, 100, 100)), np.zeros((1, 4096, 4096, 3), np.uint8)
    with pytest.raises(ValueError, match="nothing of it is left at 32x32"):
        place(region, images)
    assert place(region, images, windows=True) == (
        None,
        {"roi": "(1000, 1000, 100, 100)", "mask": None, "size": [4096, 4096], "relative": False},
    )


def test_a_mask_has_the_images_size_unless_it_is_relative(tmp_path):
    folder, path = write(tmp_path / "in", (104, 66)), mask(tmp_path / "mask.png", 50, 50)
    with pytest.raises(ValueError, match="has 50x50 pixels and the images 104x66"):
        place(Region(mask=path), folder)
    relative = place(Region(mask=path, relative=True), folder)
    assert relative.record["relative"]
    assert relative.inside[:, :15].all()
    assert place(Region(mask=mask(tmp_path / "right.png", 104, 66)), folder).record["size"] == [66, 104]


def test_images_of_several_sizes_have_no_common_region(tmp_path):
    folder = write(tmp_path / "in", (104, 66), (66, 66))
    for region in (Region(roi=(0, 0, 9, 9)), Region(mask=mask(tmp_path / "m.png", 104, 66))):
        with pytest.raises(ValueError, match=r"'1\.png' has 66x66 pixels and '0\.png' 104x66, expected one size"):
            place(region, folder)
    place(Region(roi=(0, 0, 9, 9)), folder, names=["0.png"])


def test_only_the_size_it_was_drawn_on_is_inspected():
    tied = {"roi": "(0, 0, 9, 9)", "mask": None, "size": [66, 104], "relative": False}
    check_frame_size(tied, (66, 104), name="a.png")
    with pytest.raises(ImageError, match=r"a\.png: got 66x66 pixels, expected 104x66"):
        check_frame_size(tied, (66, 66), name="a.png")
    for record in (None, {**tied, "relative": True}, {"roi": "(0, 0, 9, 9)", "mask": None}):
        check_frame_size(record, (66, 66), name="a.png")


def test_a_rectangle_that_has_no_meaning(tmp_path):
    images = np.zeros((1, 32, 32, 3), np.uint8)
    for region in (Region(), Region(roi=(0, 0, 1, 1), mask="m.png")):
        with pytest.raises(ValueError, match="a rectangle or a mask"):
            place(region, images)
    with pytest.raises(ValueError, match="within the images of 32x32"):
        place(Region(roi=(30, 0, 9, 9)), images)
    for text in ("1,2,3", "a,b,c,d", "-1,0,3,3", "0,0,0,3"):
        with pytest.raises(ValueError, match="roi: got"):
            parse_roi(text)
