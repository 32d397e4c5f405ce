"""Defects drawn into good images: small, seeded, for images of any shape."""

import numpy as np
import pytest

from gnl_jax.images.simulated_defects import EXTENTS, KINDS, draw_defect

SIZE = 128


def picture(seed, height=SIZE, width=SIZE):
    """Cells with noise, uint8 [height width 3]."""
    rng = np.random.default_rng(seed)
    cells = np.random.default_rng(9).integers(60, 190, (8, 8, 3)).repeat(height // 8, 0).repeat(width // 8, 1)
    return (cells + rng.integers(-15, 16, cells.shape)).astype(np.uint8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("height", "width"), [(SIZE, SIZE), (SIZE, 2 * SIZE), (2 * SIZE, SIZE)])
def test_a_defect_is_small_and_seeded(kind, height, width):
    good, other = picture(0, height, width), picture(1)
    bad = draw_defect(np.random.default_rng(3), good, other, kind)
    assert bad.shape == good.shape
    assert bad.dtype == np.uint8
    rows, columns = np.nonzero((bad != good).any(-1))
    assert len(rows) > 10
    reach = 3 * EXTENTS[1] * SIZE + 6  # a scratch is three times as long as the extent
    assert max(np.ptp(rows), np.ptp(columns)) < reach
    np.testing.assert_array_equal(bad, draw_defect(np.random.default_rng(3), good, other, kind))


def test_places_of_a_long_image_reach_both_ends():
    image = np.random.default_rng(0).integers(0, 256, (40, 400, 3), np.uint8)
    places = []
    for seed in range(30):
        bad = draw_defect(np.random.default_rng(seed), image, image, "dark_spot")
        places.append(np.nonzero((bad != image).any((0, 2)))[0].mean())
    assert min(places) < 80
    assert max(places) > 320


def test_another_kind():
    with pytest.raises(ValueError, match="kind: got 'dent', expected one of dark_spot"):
        draw_defect(np.random.default_rng(0), picture(0), picture(1), "dent")


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (3, 3)])
def test_an_image_of_a_few_pixels(shape):
    image = np.full((*shape, 3), 100, np.uint8)
    for kind in KINDS:
        assert draw_defect(np.random.default_rng(0), image, image, kind).shape == image.shape
