"""The example product: what a defect, a lamp and a seed change, and that the folders are read as they are meant."""

import numpy as np
import programs
import pytest
from PIL import Image, ImageFilter

from gnl_jax.data.folder import FolderOptions, folder_task
from gnl_jax.data.good import check_good_folder
from gnl_jax.data.lighting import Lamp
from gnl_jax.data.listing import list_images
from gnl_jax.data.product import KINDS, LAMPS, Counts, photograph_part, write_product
from gnl_jax.data.protocol import leak_check

SIZE = 64


def photograph(index=0, **options):
    return photograph_part(index, **{"size": SIZE, **options})[0]


def grown(mask, pixels):
    return np.asarray(Image.fromarray(mask).filter(ImageFilter.MaxFilter(2 * pixels + 1)))


def test_a_seed_and_an_index_give_the_same_bits_and_others_give_others():
    image, mask = photograph(3, kind="stain")
    assert (image.dtype, image.shape) == (np.uint8, (SIZE, SIZE, 3))
    assert (mask.dtype, mask.shape) == (np.bool_, (SIZE, SIZE))
    again = photograph(3, kind="stain")
    np.testing.assert_array_equal(again.image, image)
    np.testing.assert_array_equal(again.mask, mask)
    for other in (photograph(4, kind="stain"), photograph(3, kind="stain", seed=1)):
        assert (other.image != image).mean() > 0.5
        assert (other.mask != mask).any()
    assert not photograph(3).mask.any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_covers_what_a_defect_changes(kind):
    changes = []
    for strength in (0.1, 1.0):
        for index in range(3):
            good = photograph(index, noise=0).image.astype(int)
            image, mask = photograph(index, kind=kind, strength=strength, noise=0)
            changed = np.abs(image - good).max(2)
            assert changed[mask].max() > 3
            assert (changed[~grown(mask, 1)] > 8).sum() <= 4  # the light of a slope may reach a little further
            assert 4 < mask.sum() < 0.15 * mask.size
            changes.append(changed.sum())
    assert min(changes[3:]) > max(changes[:3])


def test_a_lamp_changes_light_alone():
    lamps = (Lamp(), Lamp(kelvin=3500), Lamp(exposure=1.4))
    cold, warm, bright = photograph_part(0, kind="dent", lamps=lamps, size=SIZE, noise=0)
    for other in (warm, bright):
        np.testing.assert_array_equal(other.mask, cold.mask)
    red, green, blue = (warm.image.astype(int) - cold.image).mean((0, 1))
    assert red > 8
    assert blue < -8
    assert abs(green) < 4  # the camera's own error of exposure
    assert (bright.image >= cold.image).all()


@pytest.mark.parametrize("azimuth", [0, 180])
def test_shadows_fall_away_from_the_lamp(azimuth):
    image = photograph(lamps=(Lamp(azimuth=azimuth, elevation=35),), noise=0).image.astype(float)
    left, right = (image[SIZE // 3 : -SIZE // 3, columns].mean() for columns in (slice(3, 5), slice(-5, -3)))
    near, far = (right, left) if azimuth == 0 else (left, right)
    assert near > 1.5 * far


def test_the_folders_are_read_as_mvtec_ad(tmp_path):
    counts, done = Counts(good=3, test_good=2, defects=1, new_good=2), []
    root = tmp_path / "plates"
    assert write_product(root, counts, size=SIZE, advance=done.append) == 3 + 2 + 2 * (2 + 4)
    assert sum(done) == counts.parts == 11
    assert [path.name for path in tmp_path.iterdir()] == ["plates"]
    shifted = [f"lamp_b={root / 'lamp_b'}"]
    task = folder_task(str(root / "lamp_a"), options=FolderOptions(size=SIZE, shifted=shifted))
    same, other = task.load_test("id"), task.load_test("lamp_b")
    assert len(task.train) == 3
    assert same.names == other.names
    assert same.anomalous.tolist() == [name.split("/")[1] != "good" for name in same.names]
    assert same.anomalous.sum() == len(KINDS)
    np.testing.assert_array_equal(same.masks.any((1, 2)), same.anomalous)
    np.testing.assert_array_equal(same.masks, other.masks)
    assert leak_check(np.concatenate([task.train, same.images]), other.images) == []
    good = root / "lamp_b" / "train" / "good"
    check_good_folder(good, list_images(good))
    with pytest.raises(ValueError, match=r"plates': holds files already, expected an empty folder or none"):
        write_product(root, counts, size=SIZE)


def test_the_same_parts_whatever_else_is_written(tmp_path):
    """A part depends on its index alone, not on threads; the lamps are those that are documented."""
    write_product(tmp_path / "one", Counts(1, 1, 1, 1), size=SIZE, seed=5)
    written = np.asarray(Image.open(tmp_path / "one" / "lamp_b" / "test" / "good" / "000.png"))
    expected = photograph_part(2, lamps=tuple(LAMPS.values()), size=SIZE, seed=5)[1]
    np.testing.assert_array_equal(written, expected.image)


def test_arguments_without_a_meaning():
    with pytest.raises(ValueError, match=r"kind: got 'dents', expected one of \['good', 'dent', 'missing'"):
        photograph(kind="dents")
    with pytest.raises(ValueError, match=r"strength: got 1.5, expected 0 to 1"):
        photograph(kind="dent", strength=1.5)
    with pytest.raises(ValueError, match=r"size: got 32, expected at least 64"):
        photograph(size=32)


def test_the_command(tmp_path, capsys):
    small = ["--size", "64", "--good", "2", "--test-good", "1", "--defects", "1", "--new-good", "1"]
    assert programs.status(["example", str(tmp_path / "plates"), *small]) == 0
    assert "wrote 13 images" in capsys.readouterr().out
    assert programs.status(["example", str(tmp_path / "plates"), *small]) == 1
    assert "holds files already" in capsys.readouterr().err
    assert programs.status(["example", str(tmp_path / "none"), "--new-good", "0"]) == 2
    assert "--new-good: got 0, expected 1 or more" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
