"""A folder of good images holds nothing else; masks are not scored."""

import pytest
from test_layouts import AD_2, LOCO, MASKS, MVTEC
from test_listing import touch

from gnl_jax.cli.arguments import listed
from gnl_jax.data.good import check_good_folder, defect_images, images_to_score
from gnl_jax.data.listing import list_images

BTAD = ["train/ok/0.bmp", "test/ok/1.bmp", "test/ko/2.bmp", "ground_truth/ko/2.png"]
VISA = ["candle/Data/Images/Normal/0.JPG", "candle/Data/Images/Anomaly/0.JPG", "candle/Data/Masks/Anomaly/0.png"]


def check(root, *names):
    touch(root, *names)
    check_good_folder(str(root), list_images(root))


@pytest.mark.parametrize(
    ("names", "held", "instead"),
    [
        ([*MVTEC, *MASKS], "ground_truth, test/crack, test/hole", "train/good"),
        (MVTEC, "test/crack, test/hole", "train/good"),
        ([*LOCO, "ground_truth/logical_anomalies/001/000.png"], "ground_truth, test/logical.*", "train/good"),
        (AD_2, "test_private, test_private_mixed, test_public/bad, ...", "train/good"),
        (BTAD, "ground_truth, test/ko", "train/ok"),
        (VISA, "candle/Data/Images/Anomaly, candle/Data/Masks", "candle/Data/Images/Normal"),
        (["good/1.png", "bad/1.png", "mask/1.png"], "bad, mask", "good"),
        (["good/1.png", "scratch/1.png"], "scratch", "good"),
        (["OK/1.png", "NG/1.png"], "NG", "OK"),
        (["test/good/1.png", "test/hole/1.png", "ground_truth/good/1.png"], "ground_truth, test/hole", "test/good"),
        (["line 1/good/1.png", "line 1/bad/1.png"], "line 1/bad", "line 1/good"),
        (["train/1.png", "test/1.png"], "test", "train"),
        (["1.png", "1_mask.png"], "1_mask.png", None),
        (["a/1.png", "a/1 (mask).png"], r"a/1 \(mask\).png", None),
        (["1.png", "defects/1.png"], "defects", None),
        ([f"{p}/{n}" for p in "abcd" for n in MVTEC], r"4 products \(a, b, c, ...\)", "a/train/good"),
        (["nut/train/good/1.png", "cap/train/good/1.png"], r"2 products \(cap, nut\)", "cap/train/good"),
    ],
)  # fmt: skip
def test_what_a_folder_holds_beside_good_images_is_named_with_the_folder_to_give(tmp_path, names, held, instead):
    advice = f"; give '{tmp_path}/{instead}'$" if instead else "$"
    with pytest.raises(ValueError, match=f"^'{tmp_path}': holds {held}, expected good images (alone|of one){advice}"):
        check(tmp_path, *names)


@pytest.mark.parametrize(
    "names",
    [
        ["1.png", "2.png"],
        ["line 0/1.png", "line 1/1.png"],
        ["good/1.png"],
        ["good/1.png", "ok/1.png", "good_test/1.png"],
        ["line 1/good/1.png", "line 2/good/1.png"],
        ["train/good/1.png", "validation/good/1.png"],
        ["label/1.png", "cap/1.png"],
        ["tested/1.png", "1.png"],
    ],
)
def test_folders_of_good_images_alone(tmp_path, names):
    check(tmp_path, *names)


def test_the_part_that_is_wanted_is_named(tmp_path):
    touch(tmp_path, *MVTEC)
    with pytest.raises(ValueError, match=r"give '.*/test/good'"):
        check_good_folder(tmp_path, list_images(tmp_path), part="test")


@pytest.mark.parametrize("name", ["ground_truth", "NG", "bad"])
def test_a_folder_that_says_so_itself(tmp_path, name):
    with pytest.raises(ValueError, match=f"got a folder called '{name}', expected one of good images alone"):
        check(tmp_path / name, "1.png")


def test_masks_are_not_scored(tmp_path, caplog):
    touch(tmp_path, *MVTEC, *MASKS)
    assert images_to_score(tmp_path) == tuple(sorted(MVTEC))
    assert "3 masks are not scored, such as ground_truth/crack/000_mask.png" in caplog.text


def test_whatever_else_there_is_has_a_score(tmp_path):
    products = ["masks/a.png", "gt/b.png", "part.png", "part_label.png", "part_mask.png"]
    touch(tmp_path, *products)
    assert images_to_score(tmp_path) == tuple(sorted(products))
    touch(tmp_path / "loco", *LOCO, "ground_truth/logical_anomalies/001/000.png")
    assert images_to_score(tmp_path / "loco") == tuple(sorted(LOCO))


def test_the_command_line_lists_no_masks(tmp_path):
    touch(tmp_path, *MVTEC, *MASKS)
    assert [file.name for file in listed([str(tmp_path)])] == sorted(MVTEC)


def test_defective_images_of_a_test_folder(tmp_path):
    touch(tmp_path, *MVTEC, *MASKS)
    touch(tmp_path, "test/hole/000_mask.png")
    assert defect_images(tmp_path / "test") == ("crack/000.png", "hole/000.png", "hole/001.png")
    with pytest.raises(ValueError, match=r"holds test/good, expected defective parts"):
        defect_images(tmp_path)
    with pytest.raises(ValueError, match="got good parts alone"):
        defect_images(tmp_path / "train")
