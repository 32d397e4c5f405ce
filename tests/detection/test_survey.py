"""What a folder holds: sizes, modes, copies, near-copies and exposures that stand out, in numbers and in words."""

import numpy as np
import pytest
from PIL import Image

from gnl_jax.config import default_config
from gnl_jax.detection.survey import lines, standing_out, survey_folder


@pytest.fixture
def dataset():
    dataset = default_config().dataset
    dataset.size, dataset.cache = 32, ""
    return dataset


def write(folder, name, image, *, size=(48, 40)):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).resize(size, Image.Resampling.NEAREST).save(path)


def part(seed, *, level=100):
    return np.random.default_rng(seed).integers(level - 40, level + 40, (16, 16, 3)).astype(np.uint8)


def test_what_is_odd_is_found(tmp_path, dataset):
    for i in range(12):
        write(tmp_path, f"{i:02}.png", part(i))
    write(tmp_path, "again.png", part(3))  # a copy
    write(tmp_path, "nearly.png", part(5) + np.uint8(1))  # and almost one
    write(tmp_path, "dark.png", part(77, level=45), size=(60, 50))
    Image.fromarray(part(78)[..., 0]).resize((48, 40)).save(tmp_path / "grey.png")
    found = survey_folder(tmp_path, dataset)
    assert (found.images, found.parts) == (16, 16)
    assert found.headers.sizes == {(48, 40): 15, (60, 50): 1}
    assert found.headers.modes == {"RGB": 15, "L": 1}
    assert found.copies == (("again.png", "03.png"),)
    assert found.near == (("05.png", "nearly.png"),)
    assert [name for name, _ in found.exposures] == ["dark.png"]
    assert found.brightness[0] == pytest.approx(found.exposures[0][1])
    said = lines(found)
    assert said[0].startswith("found 16 images: 48x40, most of 2 sizes (15); 15 RGB, 1 L; brightness 4")
    assert said[1:] == [
        "1 images are copies: 'again.png' of '03.png'",
        "1 pairs are almost the same picture: '05.png' and 'nearly.png'",
        f"the brightness of 1 images stands out: 'dark.png' ({found.brightness[0]:.0f})",
    ]


def test_images_of_one_part_may_be_alike_and_what_is_excluded_is_not_there(tmp_path, dataset):
    for i in range(4):
        write(tmp_path, f"a{i}.png", part(i))
        write(tmp_path, f"b{i}.png", part(i) + np.uint8(1))
    found = survey_folder(tmp_path, dataset, group_by=r"\d", exclude=["a3.png"])
    assert (found.images, found.parts, found.near, found.copies) == (7, 4, (), ())
    assert lines(found)[0].startswith("found 7 images of 4 parts: 48x40; RGB; ")
    assert len(lines(found)) == 1


def test_several_exposures_do_not_stand_out():
    levels = np.repeat([40.0, 80, 120, 160, 200], 4)
    assert standing_out(levels) == []
    assert standing_out(np.array([100.0, 101, 99, 100, 250, 20])) == [4, 5]
    assert standing_out(np.array([100.0] * 8 + [108.0])) == []  # as little as that does not count
