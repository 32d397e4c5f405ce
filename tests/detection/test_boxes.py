"""Boxes of what is anomalous, in the pixels of the file."""

import numpy as np
import pytest

from gnl_jax.detection.boxes import defect_boxes
from gnl_jax.images.resize import Geometry


def test_each_region_has_a_box_the_highest_first():
    score_map = np.zeros((32, 32), np.float32)
    score_map[4:8, 2:5] = 2
    score_map[20:24, 28:32] = 3
    score_map[24, 27] = 2.5  # touches by a corner
    boxes = defect_boxes(score_map, 1.0, source=(64, 320), geometry=Geometry(32))
    assert boxes == [(270, 40, 50, 10), (20, 8, 30, 8)]


def test_no_score_above_the_threshold_no_box():
    score_map = np.full((32, 32), 1.0, np.float32)
    assert defect_boxes(score_map, 1.0, source=(32, 32), geometry=Geometry(32)) == []


def test_a_centre_that_was_cut_out_is_put_back():
    score_map = np.zeros((32, 32), np.float32)
    score_map[0, 0] = 1
    assert defect_boxes(score_map, 0.5, source=(40, 80), geometry=Geometry(32, resize=40)) == [(8, 4, 2, 1)]


@pytest.mark.parametrize("source", [(1, 1), (7, 5), (3000, 17)])
def test_boxes_stay_within_the_image(source):
    rng = np.random.default_rng(0)
    for x, y, w, h in defect_boxes(rng.random((32, 32)), 0.9, source=source, geometry=Geometry(32)):
        assert w >= 1
        assert h >= 1
        assert 0 <= x < source[1]
        assert 0 <= y < source[0]
        assert x + w <= source[1]
        assert y + h <= source[0]
