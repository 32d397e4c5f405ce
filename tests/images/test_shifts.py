"""Shifts: exact limits, directions, and more change with more severity."""

import numpy as np
import pytest
from scipy import ndimage

from gnl_jax.images.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from gnl_jax.images.shifts import SHIFTS

# The parameter that changes nothing; JPEG has none.
IDENTITY = {
    "gain": 0,
    "gamma": 1,
    "white_balance": 0,
    "vignette": 0,
    "motion_blur": 0,
    "rotation": 0,
    "translation": 0,
}


def photograph(h=96, w=128):
    """Smooth structure with some texture, away from black and white, float64."""
    rng = np.random.default_rng(0)
    x = ndimage.gaussian_filter(rng.normal(size=(h, w, 3)), (3, 3, 0)) * 3 + 0.05 * rng.normal(size=(h, w, 3))
    return (0.5 + 0.1 * x).clip(0.1, 0.9)


def as_uint8(x):
    return np.rint(x * 255).astype(np.uint8)


def both_ways(name, x, parameter):
    """The outcomes over many generators: both signs, both axes."""
    return [SHIFTS[name][0](np.random.default_rng(seed), x, parameter) for seed in range(16)]


def test_no_name_is_used_twice():
    assert not set(CORRUPTIONS) & set(SHIFTS)


@pytest.mark.parametrize("name", IDENTITY)
def test_identity_limit(name):
    x = photograph()
    for shifted in both_ways(name, x, IDENTITY[name]):
        np.testing.assert_allclose(shifted, x, atol=1e-12)


def test_jpeg_at_full_quality_is_close():
    x = photograph()
    assert np.abs(SHIFTS["jpeg"][0](None, x, 100) - x).mean() < 0.02


@pytest.mark.parametrize("name", SHIFTS)
def test_more_severe_changes_more(name):
    image = as_uint8(photograph())
    for seed in range(4):
        shifted = [corrupt(np.random.default_rng(seed), image, name, severity) for severity in SEVERITIES]
        change = [np.abs(s.astype(float) - image).mean() for s in shifted]
        assert change[0] > 0
        assert np.all(np.diff(change) > 0), change


@pytest.mark.parametrize("name", SHIFTS)
def test_reproducible_and_any_shape(name):
    for shape in ((1, 1), (7, 32), (64, 17)):
        image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        first = corrupt(np.random.default_rng(3), image, name, 5)
        assert first.shape == (*shape, 3)
        np.testing.assert_array_equal(first, corrupt(np.random.default_rng(3), image, name, 5))


def test_gain_is_exposure_both_ways():
    ratios = {round(float(np.mean(s) / np.mean(photograph())), 6) for s in both_ways("gain", photograph(), 0.5)}
    assert ratios == {round(2**0.5, 6), round(2**-0.5, 6)}


def test_gain_up_and_down_go_one_way_for_all_images():
    for name, stops in (("gain_up", 0.75), ("gain_down", -0.75)):
        function, parameters = SHIFTS[name]
        assert parameters[4] == stops
        x = photograph()
        np.testing.assert_allclose(function(None, x, stops), x * 2**stops)


def test_gamma_keeps_black_and_white():
    ends = np.array([0.0, 0.5, 1.0]).reshape(1, 3, 1).repeat(3, axis=-1)
    middles = {
        round(float(s[0, 1, 0]), 6) for s in both_ways("gamma", ends, 1.5) if s[0, 0, 0] == 0 and s[0, 2, 0] == 1
    }
    assert middles == {round(0.5**1.5, 6), round(0.5 ** (1 / 1.5), 6)}


def test_white_balance_moves_red_against_blue():
    for shifted in both_ways("white_balance", photograph(), 0.2):
        red, green, blue = (shifted / photograph()).reshape(-1, 3).T
        np.testing.assert_allclose(green, 1)
        np.testing.assert_allclose(red * blue, 1)
        assert {round(float(red[0]), 6)} <= {1.2, round(1 / 1.2, 6)}


def test_vignette_darkens_the_corners_only():
    shifted = SHIFTS["vignette"][0](None, np.ones((33, 65, 3)), 0.4)
    np.testing.assert_allclose([shifted[0, 0, 0], shifted[-1, -1, 0], shifted[16, 32, 0]], [0.6, 0.6, 1])
    np.testing.assert_allclose(shifted, shifted[::-1, ::-1])


def test_motion_blur_smears_a_line_along_one_axis():
    line = np.zeros((64, 64, 3))
    line[32] = 1
    kept, smeared = 0, 0
    for shifted in both_ways("motion_blur", line, 0.125):  # a path of 9 pixels
        if np.allclose(shifted, line):
            kept += 1
        else:
            np.testing.assert_allclose(shifted[28:37], 1 / 9)
            np.testing.assert_allclose(shifted.sum(axis=0), 1)
            smeared += 1
    assert kept
    assert smeared


def test_rotation_turns_by_the_angle():
    rows, columns = np.mgrid[-48:49, -48:49].astype(float)
    ramp = np.stack([0.5 + rows / 400] * 3, axis=-1)
    inside = np.hypot(rows, columns) < 45
    for shifted in both_ways("rotation", ramp, 5):
        slopes = np.linalg.lstsq(
            np.stack([rows[inside], columns[inside]], axis=-1), 400 * (shifted[inside][:, 0] - 0.5), rcond=None
        )[0]
        np.testing.assert_allclose([slopes[0], abs(slopes[1])], [np.cos(np.pi / 36), np.sin(np.pi / 36)], atol=1e-9)


def test_translation_moves_by_the_distance():
    rows, columns = np.mgrid[:64, :80].astype(float)
    directions = []
    for seed in range(16):
        x = np.stack([rows / 64, columns / 80, rows * 0], axis=-1)
        moved = SHIFTS["translation"][0](np.random.default_rng(seed), x, 0.05)
        shift = (moved - x)[20:40, 20:40, :2].mean(axis=(0, 1)) * [64, 80]
        np.testing.assert_allclose(np.hypot(*shift), 0.05 * 64)
        directions.append(np.arctan2(*shift))
    assert np.ptp(directions) > np.pi
