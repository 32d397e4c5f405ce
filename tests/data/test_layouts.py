import pytest
from test_listing import touch

from gnl_jax.data.layouts import (
    class_layout,
    find_layout,
    mvtec_layout,
    mvtec_test,
    pacs_domain,
    pacs_domains,
    pacs_layout,
    pair_masks,
    shifted_files,
)
from gnl_jax.data.listing import list_images

MVTEC = [
    *("train/good/000.png", "train/good/001.png", "test/good/000.png"),
    *("test/hole/000.png", "test/hole/001.png", "test/crack/000.png"),
]
MASKS = ["ground_truth/hole/000_mask.png", "ground_truth/hole/001_mask.png", "ground_truth/crack/000_mask.png"]


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
    assert test.masks == tuple(name and f"{root}/ground_truth/{name}" for name in expected)
    assert (train, test) == mvtec_layout(root, list_images(root))


def test_mvtec_without_masks_and_without_training_images(tmp_path):
    touch(tmp_path, *MVTEC)
    assert find_layout(str(tmp_path)).test.masks is None
    (tmp_path / "shift").mkdir()
    touch(tmp_path / "shift", *(name for name in MVTEC if name.startswith("test")), *MASKS)
    shifted = shifted_files(str(tmp_path / "shift"))
    assert shifted.names == find_layout(str(tmp_path)).test.names
    assert shifted.masks[1] is None
    assert shifted.masks[0].endswith("ground_truth/crack/000_mask.png")


def test_mvtec_with_parts_missing(tmp_path):
    touch(tmp_path, "train/good/0.png", "ground_truth/hole/0_mask.png")
    with pytest.raises(ValueError, match=f"'{tmp_path}': no images in test/good and test/<defect>"):
        find_layout(str(tmp_path))
    with pytest.raises(ValueError, match="no images in train/good"):
        mvtec_layout(str(tmp_path), ["test/good/0.png"])
    touch(tmp_path, "test/hole/0.png", "test/hole/1.png")
    with pytest.raises(ValueError, match="1 masks in ground_truth for 2 images in test/hole"):
        mvtec_test(str(tmp_path), list_images(str(tmp_path)))


def test_masks_belong_by_name_before_order(caplog):
    images = ["test/d/a.png", "test/d/a1.png", "test/d/b.jpg"]
    masks = ["ground_truth/d/a1_mask.png", "ground_truth/d/a_mask.png", "ground_truth/d/b_mask.png"]
    assert sorted(masks) == masks  # here the order alone would swap two masks
    assert pair_masks(images, masks, root="r") == dict(zip(images, [masks[1], masks[0], masks[2]]))
    plain = [f"ground_truth/d/{stem}.png" for stem in ("a", "a1", "b")]
    assert pair_masks(images, plain, root="r") == dict(zip(images, plain))
    assert not caplog.text
    others = ["ground_truth/d/1.png", "ground_truth/d/2.png", "ground_truth/d/3.png"]
    assert pair_masks(images, others, root="r") == dict(zip(images, others))
    assert "paired by sorted order" in caplog.text


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
        class_layout(root, list_images(root), "cow")


def test_good_is_the_normal_class_where_none_is_named(tmp_path):
    touch(tmp_path, *numbered("good", 2), *numbered("scratch", 1))
    assert find_layout(str(tmp_path)).test.defects == ("", "scratch")


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


def test_pacs(tmp_path):
    touch(tmp_path, *numbered("photo/dog", 21), *numbered("photo/horse", 11), "photo/extra.png")
    touch(tmp_path, *numbered("sketch/dog", 12), *numbered("sketch/horse", 3))
    root = str(tmp_path)
    paths = list_images(root)
    assert pacs_domains(paths) == ["photo", "sketch"]
    train, test = pacs_layout(root, paths, "dog")
    assert train.names == tuple(f"photo/dog/{i:02d}.png" for i in range(21) if i % 10)
    tenths = [f"photo/dog/{i}0.png" for i in range(3)] + [f"photo/horse/{i}0.png" for i in range(2)]
    assert test.names == tuple(tenths)
    assert test.defects == ("", "", "", "horse", "horse")
    assert len(pacs_domain(root, paths, "dog", "sketch").names) == 15
    tenth = pacs_domain(root, paths, "horse", "sketch", keep="tenth")
    assert tenth.names == ("sketch/dog/00.png", "sketch/dog/10.png", "sketch/horse/00.png")
    assert tenth.defects == ("dog", "dog", "")


def test_pacs_names_what_is_missing(tmp_path):
    touch(tmp_path, "photo/dog/1.png")
    root, paths = str(tmp_path), ["photo/dog/1.png"]
    with pytest.raises(ValueError, match=r"no domain 'art', found \['photo'\]"):
        pacs_domain(root, paths, "dog", "art")
    with pytest.raises(ValueError, match=r"no class 'cow' in '.*photo', expected one of \['dog'\]"):
        pacs_layout(root, paths, "cow")
    with pytest.raises(ValueError, match="ood: got 'half'"):
        pacs_domain(root, paths, "dog", "photo", keep="half")
