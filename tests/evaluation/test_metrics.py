"""Metrics against brute force and cases worked by hand; many of the scores are tied."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gnl_jax.evaluation import metrics


@st.composite
def scored(draw):
    """Scores [n] with many ties, and labels [n] of both classes."""
    n = draw(st.integers(2, 40))
    levels = draw(st.sampled_from([2, 5, 1000]))
    scores = draw(hnp.arrays(np.int64, n, elements=st.integers(-levels, levels))) / 8
    labels = draw(hnp.arrays(bool, n))
    labels[draw(st.integers(0, n - 1))] ^= labels.all() or not labels.any()
    return scores, labels


@st.composite
def mapped(draw):
    """Score maps [n h w] with many ties, and masks [n h w] with normal and anomalous pixels."""
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(2, 6)))
    maps = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, draw(st.sampled_from([1, 6, 100]))))) / 4
    masks = draw(hnp.arrays(bool, shape))
    masks.flat[0], masks.flat[-1] = True, False
    return maps, masks


@given(scored())
def test_auroc_is_the_chance_of_a_correctly_ordered_pair(case):
    scores, labels = case
    difference = scores[labels][:, None] - scores[~labels][None]
    assert metrics.auroc(scores, labels) == pytest.approx(np.mean((np.sign(difference) + 1) / 2), abs=1e-12)


@given(scored())
def test_average_precision_and_f1_are_those_of_counting_at_every_threshold(case):
    scores, labels = case
    area, recall, best = 0.0, 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        found, called = np.count_nonzero(labels[scores >= threshold]), np.count_nonzero(scores >= threshold)
        area += (found / labels.sum() - recall) * found / called
        recall = found / labels.sum()
        best = max(best, 2 * found / (called + labels.sum()))
    assert metrics.average_precision(scores, labels) == pytest.approx(area, abs=1e-12)
    assert metrics.f1_max(scores, labels) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, bool])
def test_scores_of_any_real_type_are_ordered_alike(dtype):
    scores, labels = np.array([0, 1, 0, 1, 1]).astype(dtype), np.array([False, False, True, True, True])
    assert metrics.auroc(scores, labels) == pytest.approx(0.25 + 1 / 3, abs=1e-12)
    assert metrics.average_precision(scores, labels) == pytest.approx(2 / 3 * 2 / 3 + 1 / 3 * 3 / 5, abs=1e-12)


@given(mapped())
def test_pixel_auroc_is_that_of_all_pixels_together(case):
    maps, masks = case
    difference = maps[masks][:, None] - maps[~masks][None]
    assert metrics.pixel_auroc(maps, masks) == pytest.approx(np.mean((np.sign(difference) + 1) / 2), abs=1e-12)


def brute_force_aupro(maps, masks, limit):
    """Regions by flood fill, one pass over all pixels per threshold, the curve summed segment by segment."""
    regions = []
    for image, mask in enumerate(masks):
        left = {(int(r), int(c)) for r, c in np.argwhere(mask)}
        while left:
            region, front = [], [left.pop()]
            while front:
                r, c = front.pop()
                region.append((image, r, c))
                near = {(r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
                left -= near
                front += near
            regions.append(region)
    curve = [(0.0, 0.0)]
    for threshold in sorted(set(maps.ravel()), reverse=True):
        found = np.mean([np.mean([maps[pixel] >= threshold for pixel in region]) for region in regions])
        curve.append((np.mean(maps[~masks] >= threshold), found))
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(curve):
        if x0 < limit and x1 > x0:
            end = min(x1, limit)
            y_end = y0 + (y1 - y0) * (end - x0) / (x1 - x0)
            area += (end - x0) * (y0 + y_end) / 2
    return area / limit


@given(mapped(), st.sampled_from([0.01, 0.07, 0.3, 0.5, 1.0]))
def test_aupro_is_brute_force(case, limit):
    maps, masks = case
    expected = brute_force_aupro(maps, masks, limit)
    assert metrics.aupro(maps, masks, limit) == pytest.approx(expected, abs=1e-12)


def test_aupro_weighs_a_small_defect_like_a_large_one():
    masks = np.zeros((2, 16, 16), bool)
    masks[0, :8, :8] = True  # 64 pixels, never found
    masks[1, 15, 15] = True  # one pixel, found before any false alarm
    maps = np.zeros(masks.shape)
    maps[1, 15, 15] = 2
    maps[:, 0, 15] = 1
    # Half is found up to the tie at 0, which ends at (1, 1); 2 of 447 normal pixels score 1.
    start, limit = 2 / 447, 0.3
    at_limit = 0.5 + 0.5 * (limit - start) / (1 - start)
    expected = (start * 0.5 + (limit - start) * (0.5 + at_limit) / 2) / limit
    assert metrics.aupro(maps, masks) == pytest.approx(expected, abs=1e-12)


def test_touching_corners_are_one_region_and_neighbouring_images_are_not():
    masks = np.zeros((2, 4, 4), bool)
    masks[0, 0, 0] = masks[0, 1, 1] = masks[1, 0, 0] = True
    maps = np.zeros(masks.shape)
    maps[1, 0, 0] = 1  # one region of two
    assert metrics.aupro(maps, masks, 1e-9) == pytest.approx(0.5, abs=1e-6)


@pytest.mark.parametrize("metric", [metrics.auroc, metrics.average_precision, metrics.f1_max, metrics.pixel_auroc])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_an_error_never_a_number(metric, bad):
    with pytest.raises(ValueError, match=r"scores: 1 of 3 are not finite, the first at \(1,\)"):
        metric(np.array([0.0, bad, 1.0]), np.array([False, True, True]))


@pytest.mark.parametrize("metric", [metrics.auroc, metrics.average_precision, metrics.f1_max, metrics.pixel_auroc])
@pytest.mark.parametrize("label", [False, True])
def test_one_class_is_an_error(metric, label):
    with pytest.raises(ValueError, match="one class missing from the test"):
        metric(np.array([0.0, 1.0]), np.array([label, label]))


def test_labels_of_another_shape_or_type_are_an_error():
    with pytest.raises(ValueError, match=r"labels: got bool \(2,\), expected bool \(3,\)"):
        metrics.auroc(np.zeros(3), np.array([True, False]))
    with pytest.raises(ValueError, match=r"labels: got int64"):
        metrics.auroc(np.zeros(2), np.array([0, 1]))


@pytest.mark.parametrize("limit", [0, -0.1, 1.1, np.nan])
def test_aupro_limit_outside_its_range_is_an_error(limit):
    with pytest.raises(ValueError, match="limit"):
        metrics.aupro(np.zeros((1, 2, 2)), np.eye(2, dtype=bool)[None], limit)


def test_false_alarm_rate_counts_scores_above_the_threshold():
    assert metrics.false_alarm_rate(np.array([0.0, 1.0, 1.0, 2.0]), 1.0) == 0.25
    with pytest.raises(ValueError, match="normal_scores"):
        metrics.false_alarm_rate(np.array([]), 1.0)
    with pytest.raises(ValueError, match="not finite"):
        metrics.false_alarm_rate(np.array([np.nan]), 1.0)
    with pytest.raises(ValueError, match="threshold"):
        metrics.false_alarm_rate(np.array([1.0]), np.nan)


@given(hnp.arrays(np.int64, st.integers(1, 40), elements=st.integers(0, 12)), st.sampled_from([0, 0.05, 0.5, 0.99]))
def test_threshold_is_the_lowest_score_that_few_enough_are_above(scores, rate):
    allowed = int(np.floor(rate * len(scores) + 1e-9))
    expected = min(s for s in scores if np.count_nonzero(scores > s) <= allowed)
    threshold = metrics.threshold_at(scores / 8, rate)
    assert threshold == expected / 8
    assert metrics.false_alarm_rate(scores / 8, threshold) <= rate + 1e-12


def test_threshold_of_distinct_scores_lets_the_stated_rate_through():
    scores = np.random.default_rng(0).permutation(100).astype(np.float32)
    for rate in (0.0, 0.05, 0.07, 0.29):
        assert metrics.false_alarm_rate(scores, metrics.threshold_at(scores, rate)) == pytest.approx(rate)
    with pytest.raises(ValueError, match="normal_scores: got none"):
        metrics.threshold_at(np.array([]), 0.05)
    with pytest.raises(ValueError, match="rate: got 1"):
        metrics.threshold_at(scores, 1)
    with pytest.raises(ValueError, match="not finite"):
        metrics.threshold_at(np.array([np.nan]), 0.05)
