"""Detection at given rates and redrawn calibrations, against counting by hand."""

import itertools
from fractions import Fraction

import fitted
import numpy as np
import pytest

from gnl_jax.data.protocol import LabelledImages
from gnl_jax.detection.threshold import RateError
from gnl_jax.evaluation.operating_points import detection, operating_points, redraw


def test_detection_counts_what_lies_above_the_good_parts():
    good = np.arange(99, dtype=np.float32)
    found = detection(good, {"scratch": np.array([97.5, 98, 98.5, 99], np.float32), "dent": np.array([94.5, 5.0])})
    # At 1 % only what is above all 99 good parts is stopped; at 5 % what at most four of them reach, at 10 % nine.
    assert [row["rate"] for row in found] == [0.01, 0.05, 0.10]
    assert [row["stopped"] for row in found] == [
        {"scratch": 2, "dent": 0},
        {"scratch": 4, "dent": 1},
        {"scratch": 4, "dent": 1},
    ]
    assert all(row["n_good"] == 99 and row["at_most"] > row["rate"] for row in found)


def test_rates_that_so_few_parts_do_not_support_are_left_out():
    found = detection(np.arange(19, dtype=np.float32), {"dent": np.array([18.5])})
    assert [row["rate"] for row in found] == [0.05, 0.10]


@pytest.mark.slow
def test_all_divisions_of_a_pool_keep_the_promise_exactly():
    # Over every division of 8 parts into 4 and 4, the mean fraction stopped at 20 % is 1 in 5: k / (n + 1).
    pool, stopped = range(8), []
    for chosen in itertools.combinations(pool, 4):
        others = set(pool) - set(chosen)
        stopped.append(sum(value > max(chosen) for value in others) / 4)
    assert np.mean(stopped) == pytest.approx(1 / 5)
    drawn = redraw(np.arange(8, dtype=np.float32), 4, Fraction(1, 5), draws=4000)
    assert drawn.promised == 1 / 5
    assert drawn.mean_sd == pytest.approx(np.std(stopped) / np.sqrt(4000), rel=0.15)
    assert abs(drawn.summary()["deviations"]) < 4


@pytest.mark.slow
def test_a_calibration_unlike_the_test_would_be_seen():
    """The spread is that of exchangeable parts: a fifth more alarms than promised is many deviations away."""
    drawn = redraw(np.arange(99, dtype=np.float32), 27, Fraction(1, 20), draws=400)
    assert 0.2 * drawn.promised > 3 * drawn.mean_sd


def test_what_cannot_be_redrawn():
    with pytest.raises(ValueError, match="got 9 of 9 parts"):
        redraw(np.arange(9, dtype=np.float32), 9, Fraction(1, 10))
    with pytest.raises(RateError, match="99 calibration images"):
        redraw(np.arange(30, dtype=np.float32), 20, Fraction(1, 100))


@pytest.mark.slow
@pytest.mark.usefixtures("small_network")
@pytest.mark.xdist_group("fitted")
def test_a_fitted_detector():
    detector, _ = fitted.fitted()
    used, good, bad = fitted.digits()
    images, n = np.concatenate([good, bad[:30]]), len(good)
    defects = [""] * n + ["one"] * 10 + ["other"] * 20
    parts = [f"part {i // 2}" for i in range(n)] + [f"bad {i}" for i in range(30)]  # two images of each good part
    test = LabelledImages(images, np.array(defects) != "")
    found = operating_points(detector, test, defects=defects, parts=parts, draws=5)
    assert list(found) == list(detector.require_record().matchings)
    for row in found.values():
        assert row["parts"] == {"good": n // 2, "one": 10, "other": 20}
        assert row["pixel"] == {}
        assert [point["n_good"] for point in row["detection"]] == [19 + n // 2] * 2  # 39 parts: no 1 %
        assert 0.5 < row["auroc"] <= 1
        assert len(row["redraws"]["draws"]) == 5
    seen = LabelledImages(np.concatenate([used[:2], bad[:2]]), np.array([False, False, True, True]))
    with pytest.raises(ValueError, match="used for"):
        operating_points(detector, seen, defects=["", "", "a", "a"], parts=list("abcd"))
