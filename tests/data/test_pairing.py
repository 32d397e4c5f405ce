"""Masks belong to images by their names."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnl_jax.data.naming import split_masks
from gnl_jax.data.pairing import pair_masks

MARKS = ["{}_mask", "{}-mask", "{} (mask)", "{}(mask)", "{}_gt", "{}_GT", "{}_label", "{}_labels", "{}_seg", "{}.mask"]
MARKS += [
    "{}_ground_truth",
    "{}_groundtruth",
    "{} mask",
    "{}_anno",
    "{}_gt_mask",
    "mask_{}",
    "gt-{}",
    "label {}",
    "{}mask",
]


def paired(images, masks):
    """Pairs names of one kind of defect; returns stem to stems."""
    found = pair_masks([f"test/d/{i}.png" for i in images], [f"ground_truth/d/{m}.png" for m in masks], top="test")
    return {i[7:-4]: [m[15:-4] for m in mine] for i, mine in found.items()}


@pytest.mark.parametrize("mark", [*MARKS, "{}"])
def test_one_to_twelve_by_name_and_not_by_order(mark, caplog):
    images = [str(i) for i in range(1, 13)]
    assert paired(images, [mark.format(i) for i in images]) == {i: [mark.format(i)] for i in images}
    assert not caplog.text


def test_a_name_that_holds_another():
    images = ["a", "a1", "b", "x_gt"]
    assert paired(images, ["a1_mask", "a_mask", "b_mask", "x_gt_mask"]) == {
        "a": ["a_mask"],
        "a1": ["a1_mask"],
        "b": ["b_mask"],
        "x_gt": ["x_gt_mask"],
    }
    assert paired(["x", "x_gt"], ["x", "x_gt"]) == {"x": ["x"], "x_gt": ["x_gt"]}


def test_by_number_where_no_name_fits(caplog):
    assert paired(["img_001", "img_010", "img_002"], ["10", "2_gt", "001_gt"]) == {
        "img_010": ["10"],
        "img_002": ["2_gt"],
        "img_001": ["001_gt"],
    }
    assert "3 masks paired by the number in their names" in caplog.text


@given(st.sets(st.integers(0, 999), min_size=1, max_size=30), st.sampled_from([*MARKS, "{}"]), st.randoms())
def test_order_never_matters(numbers, mark, rng: random.Random):
    images = [f"{n:03d}" for n in numbers]
    masks = [mark.format(i) for i in images]
    rng.shuffle(masks)
    assert paired(images, masks) == {i: [mark.format(i)] for i in images}


def test_several_masks_of_an_image():
    assert paired(["x", "y"], ["x_mask_1", "x_mask_2", "y_mask"]) == {"x": ["x_mask_1", "x_mask_2"], "y": ["y_mask"]}
    assert paired(["000", "001"], ["000/000", "000/001", "001/000"]) == {
        "000": ["000/000", "000/001"],
        "001": ["001/000"],
    }


def test_images_of_one_name_in_several_folders():
    images = ["test/d/a/1.png", "test/d/b/1.png", "test/e/1.png"]
    masks = [image.replace("test", "masks") for image in images]
    assert pair_masks(images, masks, top="test") == {image: (mask,) for image, mask in zip(images, masks)}


def test_the_masks_of_a_kind_that_has_no_images_are_no_other_kinds():
    with pytest.raises(
        ValueError, match=r"no image for 'ground_truth/crack/0_mask.png'; 1 defective .* 'test/hole/0.png'"
    ):
        pair_masks(["test/hole/0.png"], ["ground_truth/crack/0_mask.png"], top="test")
    assert pair_masks(["bad/hole/0.png"], ["mask/hole/0.png"]) == {"bad/hole/0.png": ("mask/hole/0.png",)}
    images = ["bad/000.png", "bad/001.png"]
    assert pair_masks(images, ["mask/001/000.png", "mask/000/000.png", "mask/000/001.png"]) == {
        "bad/000.png": ("mask/000/000.png", "mask/000/001.png"),
        "bad/001.png": ("mask/001/000.png",),
    }


def test_images_without_a_mask_are_left_out():
    assert paired(["1", "2", "3"], ["2_mask"]) == {"2": ["2_mask"]}


@pytest.mark.parametrize(
    ("images", "masks", "named"),
    [
        (
            ["a", "b", "c"],
            ["1", "2", "3"],
            r"no image for 'ground_truth/d/1.png' and .*d/2.png' and 1 more; 3 .*d/a.png'",
        ),
        (
            ["a", "b"],
            ["a_mask", "c_mask"],
            r"no image for 'ground_truth/d/c_mask.png'; 1 defective.* as 'test/d/b.png'",
        ),
        (["a"], ["a_mask", "c_mask"], r"no image for 'ground_truth/d/c_mask.png'; all defective images have one"),
        (["a1", "b1"], ["1"], r"mask 'ground_truth/d/1.png' may belong to 'test/d/a1.png' and 'test/d/b1.png'"),
        (["a"], ["a", "a_mask"], r"'ground_truth/d/a.png' and 'ground_truth/d/a_mask.png' belong to 'test/d/a.png'"),
        (["7"], ["007_mask", "7_mask"], r"'ground_truth/d/007_mask.png' and .*/7_mask.png' belong to 'test/d/7.png'"),
        (["000", "002"], ["001/000"], r"no image for 'ground_truth/d/001/000.png'; 2 defective"),
        ([], ["1"], "there are no defective images"),
    ],
)
def test_what_cannot_be_paired_one_to_one_is_an_error_that_names_the_files(images, masks, named):
    with pytest.raises(ValueError, match=named):
        paired(images, masks)


def test_two_images_of_one_stem():
    with pytest.raises(ValueError, match=r"may belong to 'd/1.jpg' and 'd/1.png', expected one image"):
        pair_masks(["d/1.jpg", "d/1.png"], ["mask/d/1.png"])


def test_masks_are_told_from_images():
    masks = ["ground_truth/d/1.png", "Masks/1.png", "d/1_mask.png", "Train/Label/0576_label.PNG", "d/mask_1.png"]
    images = ["d/1.png", "d/2_label.png", "Train/0576.PNG", "label/bottle.png", "masked/1.png", "gt40/1.png"]
    assert split_masks([*masks, *images]) == (images, masks)
