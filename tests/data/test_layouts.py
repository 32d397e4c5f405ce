from itertools import chain

import pytest
from test_listing import touch

from gnl_jax.data.layouts import LAYOUTS, SPLITS, class_layout, find_layout, shifted_files, split_layout, split_test
from gnl_jax.data.listing import list_images

MVTEC = [
    *("train/good/000.png", "train/good/001.png", "test/good/000.png"),
    *("test/hole/000.png", "test/hole/001.png", "test/crack/000.png"),
]
MASKS = ["ground_truth/hole/000_mask.png", "ground_truth/hole/001_mask.png", "ground_truth/crack/000_mask.png"]
MVTEC_AD = SPLITS["MVTec AD"]


def masks_of(files):
    """Name of each image to its masks, both relative to the root."""
    root = str(files.paths[0]).removesuffix(files.names[0])
    return {n: [str(m).removeprefix(root) for m in masks] for n, masks in zip(files.names, files.masks)}


def test_mvtec(tmp_path):
    touch(tmp_path, *MVTEC, *MASKS, "readme.txt")
    root = str(tmp_path)
    train, test = find_layout(root)
    assert train.names == ("train/good/000.png", "train/good/001.png")
    assert train.paths == (f"{root}/train/good/000.png", f"{root}/train/good/001.png")
    assert set(train.defects) == {""}
    assert test.names == ("test/crack/000.png", "test/good/000.png", "test/hole/000.png", "test/hole/001.png")
    assert test.defects == ("crack", "", "hole", "hole")
    expected = ("crack/000_mask.png", None, "hole/000_mask.png", "hole/001_mask.png")
    assert test.masks == tuple((f"{root}/ground_truth/{name}",) if name else () for name in expected)
    assert (train, test) == split_layout(root, list_images(root), MVTEC_AD)


def test_mvtec_without_masks_and_without_training_images(tmp_path):
    touch(tmp_path, *MVTEC)
    assert find_layout(str(tmp_path)).test.masks is None
    (tmp_path / "shift").mkdir()
    touch(tmp_path / "shift", *(name for name in MVTEC if name.startswith("test")), *MASKS)
    shifted = shifted_files(str(tmp_path / "shift"))
    assert shifted.names == find_layout(str(tmp_path)).test.names
    assert shifted.masks[1] == ()
    assert shifted.masks[0][0].endswith("ground_truth/crack/000_mask.png")


def test_mvtec_with_parts_missing(tmp_path, caplog):
    touch(tmp_path, "train/good/0.png", "ground_truth/hole/0_mask.png")
    with pytest.raises(ValueError, match=f"'{tmp_path}': no images in test/good and test/<defect>"):
        find_layout(str(tmp_path))
    with pytest.raises(ValueError, match="no images in train/good"):
        split_layout(str(tmp_path), ["test/good/0.png"], MVTEC_AD)
    with pytest.raises(ValueError, match=r"no images in train/good, found train/\['monday'\]"):
        split_layout(str(tmp_path), ["train/monday/0.png"], MVTEC_AD)
    touch(tmp_path, "test/hole/0.png", "test/hole/1.png")
    test = split_test(str(tmp_path), list_images(str(tmp_path)), MVTEC_AD)
    assert masks_of(test) == {"test/hole/0.png": ["ground_truth/hole/0_mask.png"], "test/hole/1.png": []}
    assert "1 of 2 defective images have no mask, such as test/hole/1.png; pixel metrics are over" in caplog.text


LOCO = [
    *("train/good/000.png", "validation/good/000.png", "validation/good/001.png", "test/good/000.png"),
    *("test/logical_anomalies/000.png", "test/logical_anomalies/001.png", "test/structural_anomalies/000.png"),
]
LOCO_MASKS = {
    "test/good/000.png": [],
    "test/logical_anomalies/000.png": [f"ground_truth/logical_anomalies/000/00{i}.png" for i in range(2)],
    "test/logical_anomalies/001.png": ["ground_truth/logical_anomalies/001/000.png"],
    "test/structural_anomalies/000.png": ["ground_truth/structural_anomalies/000/000.png"],
}


def test_mvtec_loco_has_a_folder_of_masks_for_each_image(tmp_path, caplog):
    caplog.set_level("INFO", logger="absl")
    touch(tmp_path, *LOCO, *chain(*LOCO_MASKS.values()))
    train, test = find_layout(str(tmp_path))
    assert train.names == ("train/good/000.png",)
    assert test.defects == ("", "logical_anomalies", "logical_anomalies", "structural_anomalies")
    assert masks_of(test) == LOCO_MASKS
    assert "not used: 2 in validation/good" in caplog.text
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


AD_2 = [
    *("train/good/000_regular.png", "validation/good/100_regular.png", "test_private/400_regular.png"),
    *("test_private_mixed/500_mixed.png", "test_public/good/200_regular.png", "test_public/bad/300_overexposed.png"),
    "test_public/ground_truth/bad/300_overexposed_mask.png",
]


def test_mvtec_ad_2_is_tested_on_its_labelled_part(tmp_path, caplog):
    caplog.set_level("INFO", logger="absl")
    touch(tmp_path, *AD_2)
    train, test = find_layout(str(tmp_path))
    assert train.names == ("train/good/000_regular.png",)
    assert test.defects == ("bad", "")
    assert masks_of(test) == {
        "test_public/bad/300_overexposed.png": ["test_public/ground_truth/bad/300_overexposed_mask.png"],
        "test_public/good/200_regular.png": [],
    }
    assert "not used: 1 in test_private, 1 in test_private_mixed, 1 in validation/good" in caplog.text
    assert shifted_files(str(tmp_path)) == test


def test_btad_and_other_words_for_good_and_bad(tmp_path):
    touch(tmp_path / "btad", "train/ok/0.bmp", "test/ok/1.bmp", "test/ko/2.bmp", "ground_truth/ko/2.png")
    touch(tmp_path / "own", "train/OK/0.png", "test/OK/1.png", "test/NG/2.png", "masks/NG/2.png")
    touch(tmp_path / "flat", "train/0.png", "test/normal/1.png", "test/scratch/2.png", "test/scratch/2_mask.png")
    for name, good, bad, mask in (
        ("btad", "test/ok/1.bmp", "test/ko/2.bmp", "ground_truth/ko/2.png"),
        ("own", "test/OK/1.png", "test/NG/2.png", "masks/NG/2.png"),
        ("flat", "test/normal/1.png", "test/scratch/2.png", "test/scratch/2_mask.png"),
    ):
        train, test = find_layout(str(tmp_path / name))
        assert len(train.names) == 1
        assert dict(zip(test.names, test.defects)) == {good: "", bad: bad.split("/")[1]}
        assert masks_of(test) == {good: [], bad: [mask]}


def test_images_that_no_one_uses_are_said(tmp_path, caplog):
    touch(tmp_path, *MVTEC, "train/bad/1.png", "test/loose.png", "notes/page.png")
    train, test = find_layout(str(tmp_path))
    assert len(train.names) == 2
    assert len(test.names) == 4
    assert "not used: 1 in notes, 1 in test, 1 in train/bad" in caplog.text


def numbered(folder, n):
    return [f"{folder}/{i:02d}.png" for i in range(n)]


def test_a_folder_for_each_class(tmp_path):
    touch(tmp_path, *numbered("cat", 23), *numbered("dog", 3), *numbered("dog/young", 2))
    root = str(tmp_path)
    train, test = find_layout(root, normal="cat")
    held_out = ("cat/00.png", "cat/10.png", "cat/20.png")
    assert train.names == tuple(name for name in numbered("cat", 23) if name not in held_out)
    assert test.names == (*held_out, *numbered("dog", 3), *numbered("dog/young", 2))
    assert test.defects == ("",) * 3 + ("dog",) * 5
    assert test.masks is None
    with pytest.raises(ValueError, match=r"no class 'cow' in .*, expected one of \['cat', 'dog'\]"):
        class_layout(root, list_images(root), normal="cow")


@pytest.mark.parametrize("normal", ["good", "ok", "normal", "OK"])
def test_good_is_the_normal_class_where_none_is_named(tmp_path, normal):
    touch(tmp_path, *numbered(normal, 2), *numbered("scratch", 1))
    assert find_layout(str(tmp_path)).test.defects == ("", "scratch")


@pytest.mark.parametrize("mask", ["mask/{}.png", "mask/bad/{}.png", "ground_truth/bad/{}_mask.png", "bad/{}_mask.png"])
def test_good_bad_and_mask_folders_as_anomalib_has_them(tmp_path, mask):
    masks = {f"bad/{i:02d}.png": [mask.format(f"{i:02d}")] for i in range(3)}
    touch(tmp_path, *numbered("good", 11), *masks, *chain(*masks.values()))
    train, test = find_layout(str(tmp_path))
    assert len(train.names) == 9
    assert test.defects == ("", "", "bad", "bad", "bad")
    assert masks_of(test) == {"good/00.png": [], "good/10.png": []} | masks
    assert shifted_files(str(tmp_path)).names == tuple(sorted([*numbered("good", 11), *masks]))


def test_several_kinds_of_defect_with_one_folder_of_masks_and_good_images_to_test_on(tmp_path):
    touch(
        tmp_path, *numbered("normal", 3), "normal_test/a.png", "crack/1.png", "hole/2.png", "mask/1.png", "mask/2.png"
    )
    train, test = find_layout(str(tmp_path))
    assert train.names == tuple(numbered("normal", 3))
    assert test.defects == ("", "crack", "hole")
    assert masks_of(test) == {"normal_test/a.png": [], "crack/1.png": ["mask/1.png"], "hole/2.png": ["mask/2.png"]}


def test_a_class_may_be_called_mask_where_it_is_the_normal_one(tmp_path):
    touch(tmp_path, *numbered("mask", 2), *numbered("no_mask", 2))
    assert find_layout(str(tmp_path), normal="mask").test.defects == ("", "no_mask", "no_mask")


def test_masks_of_normal_images_are_said_and_not_used(tmp_path, caplog):
    touch(tmp_path, *MVTEC, *MASKS, "ground_truth/good/000_mask.png")
    assert find_layout(str(tmp_path)).test.masks[1] == ()
    assert "1 masks of normal images are not used" in caplog.text
    touch(tmp_path / "flat", "a.png", "a_mask.png", "b.png")
    train, test = find_layout(str(tmp_path / "flat"))
    assert (train.names, test.names) == (("b.png",), ("a.png",))


def test_a_folder_of_several_products_names_one(tmp_path):
    touch(tmp_path, *(f"{product}/{name}" for product in ("nut", "cap") for name in MVTEC))
    with pytest.raises(ValueError, match=r"several products \(cap, nut\), expected that of one, such as '.*/cap'"):
        find_layout(str(tmp_path))


def test_a_flat_folder(tmp_path):
    touch(tmp_path / "elsewhere", "x/1.png", "2.png")
    root, bad = str(tmp_path / "flat"), str(tmp_path / "elsewhere")
    touch(root, *(f"{i:02d}.png" for i in range(12)))
    train, test = find_layout(root)
    assert test.names == ("00.png", "10.png")
    assert len(train.names) == 10
    train, test = find_layout(root, bad=bad)
    assert test.names == ("00.png", "10.png", "bad/2.png", "bad/x/1.png")
    assert test.paths[2:] == (f"{bad}/2.png", f"{bad}/x/1.png")
    assert test.defects == ("", "", "bad", "bad")
    assert test.masks is None
    touch(bad, "masks/x/1.png", "2_gt.png")
    again = find_layout(root, bad=bad).test
    assert again[:3] == test[:3]
    assert again.masks == ((), (), (f"{bad}/2_gt.png",), (f"{bad}/masks/x/1.png",))


def test_an_unknown_layout_says_what_was_found(tmp_path):
    touch(tmp_path, "1.png", "2.png", "cat/3.png", "dog/4.png")
    with pytest.raises(ValueError, match=r"found 2 images beside the folders \['cat', 'dog'\]"):
        find_layout(str(tmp_path))
    with pytest.raises(ValueError, match=r"'.*': found the folders \['cat', 'dog'\], expected test/"):
        shifted_files(str(tmp_path))


def test_arguments_that_a_layout_has_no_use_for(tmp_path):
    touch(tmp_path / "flat", "1.png")
    touch(tmp_path / "mvtec", *MVTEC)
    for folder, arguments, named in [
        ("flat", {"normal": "cat"}, "normal"),
        ("mvtec", {"normal": "cat", "bad": str(tmp_path / "flat")}, "normal and bad"),
    ]:
        with pytest.raises(ValueError, match=f"^{named}: no meaning for the layout"):
            find_layout(str(tmp_path / folder), **arguments)


def test_shifted_folders_by_class(tmp_path):
    touch(tmp_path, "good/1.png", "hole/2.png")
    files = shifted_files(str(tmp_path))
    assert files.names == ("good/1.png", "hole/2.png")
    assert files.defects == ("", "hole")


def test_every_layout_stands_once():
    assert list(LAYOUTS) == [
        *("VisA", "MVTec AD 2", "MVTec LOCO", "BTAD", "MVTec AD"),
        *("a folder for each class", "a folder of normal images"),
    ]
