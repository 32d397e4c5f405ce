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
    loaded = load_masks([None, *paths], 8, what="tiles")
    assert loaded.dtype == np.bool_
    assert not loaded[0].any()
    np.testing.assert_array_equal(loaded[1], resize_nearest(masks[0] > 0, 8))
    assert "tiles: 2 of 3 are empty at 8 x 8 pixels" in caplog.text


def test_the_centre_of_a_mask(tmp_path):
    mask = np.random.default_rng(0).integers(0, 2, (30, 50)).astype(bool)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    loaded = load_masks([None, str(tmp_path / "mask.png")], Geometry(8, 11))
    assert loaded.shape == (2, 8, 8)
    np.testing.assert_array_equal(loaded[1], resize_nearest(mask, 11)[2:10, 2:10])


def test_a_broken_mask_is_named(tmp_path):
    with pytest.raises(ImageError, match=r"gone\.png"):
        load_masks([str(tmp_path / "gone.png")], 8)
