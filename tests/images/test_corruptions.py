"""Corruptions against the published implementation's own outputs."""

import os
from pathlib import Path

import numpy as np
import pytest
import signatures

from gnl_jax.images.corruptions import CORRUPTIONS, SEVERITIES, corrupt, corruption_rng, parse_shift

# Three inputs, uint8 [64 80 3], and what imagecorruptions 1.1.2 made of them; noise: RandomState(11).
GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "corruptions.npz")
PUBLISHED = ("brightness", "contrast", "defocus_blur", "gaussian_noise")


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("image", ["photo", "edge", "white"])
def test_equals_published(image, name, severity):
    suffix = "_seed11" if name == "gaussian_noise" else ""
    got = corrupt(np.random.RandomState(11), GOLDEN[f"{image}/input"], name, severity)
    np.testing.assert_array_equal(got, GOLDEN[f"{image}/{name}_{severity}{suffix}"])
    assert got.dtype == np.uint8


def test_golden_file_is_covered():
    outputs = [key for key in GOLDEN.files if not key.endswith("/input")]
    assert len(outputs) == 3 * len(PUBLISHED) * len(SEVERITIES)


def test_noise_is_a_function_of_seed_and_path():
    image = GOLDEN["photo/input"]
    first = corrupt(corruption_rng(0, "test/good/000.png"), image, "gaussian_noise", 3)
    again = corrupt(corruption_rng(0, "test/good/000.png"), image, "gaussian_noise", 3)
    np.testing.assert_array_equal(first, again)
    for seed, path in ((1, "test/good/000.png"), (0, "test/good/001.png")):
        assert np.mean(first != corrupt(corruption_rng(seed, path), image, "gaussian_noise", 3)) > 0.9


def test_the_generator_of_a_path_does_not_change_between_versions():
    assert corruption_rng(3, "test/gut/é.png").integers(2**32) == 4002244509
    not_utf8 = os.fsdecode(b"test/caf\xe9.png")
    assert corruption_rng(3, not_utf8).integers(2**32) != corruption_rng(3, "test/café.png").integers(2**32)


def test_severity_in_a_name():
    assert parse_shift("contrast", severity=2) == ("contrast", 2)
    assert parse_shift("gain_down:5", severity=2) == ("gain_down", 5)
    with pytest.raises(ValueError, match=r"'fog:1', expected one of .*contrast.*jpeg"):
        parse_shift("fog:1", severity=2)
    for text in ("contrast:0", "contrast:", "contrast:2.0", "contrast: 2", "contrast:2:3"):
        with pytest.raises(ValueError, match="expected a severity of"):
            parse_shift(text, severity=2)


@pytest.mark.parametrize("name", PUBLISHED)
def test_grey_image_is_stacked_first(name):
    grey = GOLDEN["photo/input"][..., 0]
    stacked = np.stack([grey] * 3, axis=-1)
    got = corrupt(np.random.default_rng(5), grey, name, 3)
    np.testing.assert_array_equal(got, corrupt(np.random.default_rng(5), stacked, name, 3))
    channels_differ = bool(np.any(got[..., 0] != got[..., 1]))
    assert channels_differ == (name == "gaussian_noise")


def test_input_is_left_alone():
    image = GOLDEN["photo/input"].copy()
    for name in CORRUPTIONS:
        corrupt(np.random.default_rng(0), image, name, 5)
    np.testing.assert_array_equal(image, GOLDEN["photo/input"])


@signatures.unchecked()
def test_errors_name_what_is_valid():
    image, rng = GOLDEN["photo/input"], np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"name: expected one of .*defocus_blur.*, got 'fog'"):
        corrupt(rng, image, "fog", 1)
    for severity in (0, 6, 2.5, "3"):
        with pytest.raises(ValueError, match=r"severity: expected one of \[1, 2, 3, 4, 5\]"):
            corrupt(rng, image, "contrast", severity)
    for bad in (image.astype(np.float32), image[..., :2], image[None]):
        with pytest.raises(ValueError, match="image: expected uint8"):
            corrupt(rng, bad, "contrast", 1)
