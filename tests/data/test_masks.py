import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import png16
from PIL import Image

from gnl_jax.data.decode import ImageError
from gnl_jax.data.masks import load_masks, read_mask
from gnl_jax.images.resize import Geometry, resize_nearest


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_nearest_as_pillow(h, w, size, seed):
    mask = np.random.default_rng(seed).integers(0, 2, (h, w)).astype(bool)
    expected = Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST)
    # A centre on the border of two pixels belongs to the right one; Pillow's rounding may take the left one.
    rows, columns = ((2 * np.arange(size) + 1) * n % (2 * size) > 0 for n in (h, w))
    clear = np.ix_(rows, columns)
    np.testing.assert_array_equal(resize_nearest(mask, size)[clear], np.asarray(expected)[clear])


def test_a_border_belongs_to_the_right_pixel():
    mask = np.array([[False, True, False, False]])
    np.testing.assert_array_equal(resize_nearest(mask, 2), [[True, False]] * 2)


def test_every_value_but_black_is_defect(tmp_path):
    mask = np.array([[0, 1, 2], [255, 0, 128]], np.uint8)
    Image.fromarray(mask).save(tmp_path / "grey.png")
    Image.fromarray(mask > 0).save(tmp_path / "bilevel.png")
    Image.fromarray(np.dstack([mask * 0, mask, mask * 0])).save(tmp_path / "colour.png")
    Image.fromarray(np.dstack([mask, mask])).save(tmp_path / "alpha.png")
    (tmp_path / "deep.png").write_bytes(png16(mask[..., None]))
    for path in tmp_path.iterdir():
        np.testing.assert_array_equal(read_mask(path), mask > 0, err_msg=path.name)


def test_masks_in_order_and_empty_ones_said(tmp_path, caplog):
    paths = [str(tmp_path / f"{i}.png") for i in range(3)]
    masks = [np.zeros((9, 5), np.uint8), np.zeros((4, 4), np.uint8), np.zeros((64, 64), np.uint8)]
    masks[0][:, 2:] = 255
    masks[2][0, 0] = 255  # too small to be seen at the new size
    for path, mask in zip(paths, masks):
        Image.fromarray(mask).save(path)
    loaded, known = load_masks([(), *((path,) for path in paths)], 8, what="tiles")
    assert known.all()
    assert loaded.dtype == np.bool_
    assert not loaded[0].any()
    np.testing.assert_array_equal(loaded[1], resize_nearest(masks[0] > 0, 8))
    assert "tiles: 2 of 3 are empty at 8 x 8 pixels" in caplog.text


def test_the_centre_of_a_mask(tmp_path):
    mask = np.random.default_rng(0).integers(0, 2, (30, 50)).astype(bool)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    loaded, _ = load_masks([(), (str(tmp_path / "mask.png"),)], Geometry(8, 11))
    assert loaded.shape == (2, 8, 8)
    np.testing.assert_array_equal(loaded[1], resize_nearest(mask, 11)[2:10, 2:10])


def write(path, mask):
    Image.fromarray(255 * mask.astype(np.uint8)).save(path)
    return str(path)


def test_several_masks_of_an_image_are_joined(tmp_path):
    one, other = (np.random.default_rng(seed).integers(0, 2, (9, 7)).astype(bool) for seed in range(2))
    paths = (write(tmp_path / "0.png", one), write(tmp_path / "1.png", other))
    loaded, known = load_masks([paths, ()], 9, defective=[True, False])
    np.testing.assert_array_equal(loaded[0], resize_nearest(one | other, 9))
    assert known.tolist() == [True, True]
    third = write(tmp_path / "2.png", one[1:])
    with pytest.raises(ImageError, match=r"2\.png': a mask of \(8, 7\) pixels beside '.*0\.png' of \(9, 7\)"):
        load_masks([(*paths, third)], 9)


def test_what_compression_leaves_around_a_defect_is_no_defect(tmp_path):
    mask = np.zeros((64, 64), bool)
    mask[20:40, 23:45] = True
    Image.fromarray(255 * mask.astype(np.uint8)).save(tmp_path / "mask.jpg", quality=60)
    assert (np.asarray(Image.open(tmp_path / "mask.jpg")) > 0).sum() > mask.sum() + 50
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.jpg"), mask)


def test_a_defect_without_a_mask_is_not_known(tmp_path):
    path = write(tmp_path / "0.png", np.ones((4, 4), bool))
    masks, known = load_masks([(), (), (path,)], 8, defective=[False, True, True])
    assert known.tolist() == [True, False, True]
    assert masks.any(axis=(1, 2)).tolist() == [False, False, True]


def test_all_broken_masks_are_named_or_left_out(tmp_path, caplog):
    (tmp_path / "empty.png").write_bytes(b"")
    paths = [(str(tmp_path / name),) for name in ("gone.png", "empty.png")] + [(write(tmp_path / "0.png", np.eye(4)),)]
    with pytest.raises(ImageError, match=r"(?s)2 of 3 masks .*gone\.png': No such.*empty\.png': the file is empty"):
        load_masks(paths, 8)
    masks, known = load_masks(paths, 8, defective=[True] * 3, skip_unreadable=True)
    assert known.tolist() == [False, False, True]
    assert not masks[:2].any()
    assert "skipped: " in caplog.text
