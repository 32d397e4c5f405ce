"""Other rates than those of the fit, from the calibration that the detector holds; refused where it cannot."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from bright import N, detector

from gnl_jax.detection.threshold import RateError, make_rules
from gnl_jax.methods.base import Prediction


def test_they_are_those_of_a_fit_with_the_same_calibration():
    old = detector()
    new = old.with_rates(ng="2%", review=0.1)
    expected, _ = make_rules(N, ng=Fraction(2, 100), review=Fraction(1, 10))
    assert new.record.rules == expected
    scores = np.sort(old.record.calibration.score)
    assert new.record.thresholds == (float(scores[-2]), float(scores[-10]))
    assert new.record.drift_rule == old.record.drift_rule
    assert old.record.rules.review.rate == Fraction(5, 100)  # the detector itself is as it was
    between = Prediction(np.array([scores[-10] + 1e-4, scores[-11]], np.float32))
    assert [said.decision for said in new.decide(between)] == ["REVIEW", "OK"]
    assert [said.decision for said in old.decide(between)] == ["OK", "OK"]


def test_a_rate_left_out_stays():
    old = detector()
    assert old.with_rates(review="3%").record.rules.ng == old.record.rules.ng
    assert old.with_rates(ng="2%").record.rules.review == old.record.rules.review
    sure = old.with_rates(review="10%", ng="4%", confidence=0.95).record.rules
    assert sure == make_rules(N, ng=Fraction(4, 100), review=Fraction(1, 10), confidence=0.95)[0]
    assert sure.review.k < 10


@pytest.mark.parametrize(
    ("rates", "error", "message"),
    [
        ({"ng": "0.5%"}, RateError, "0.5 % takes at least 199 calibration images .one for each part., got 99"),
        ({"confidence": 0.95}, RateError, "1 % with 95 % confidence takes at least 299 calibration images"),
        ({"ng": "6%"}, RateError, "ng: got 6 %, expected at most the rate of review, 5 %"),
        ({"review": "much"}, ValueError, "expected a decimal"),
    ],
)
def test_what_the_calibration_cannot_support_is_refused(rates, error, message):
    with pytest.raises(error, match=message):
        detector().with_rates(**rates)


def test_without_calibration_there_is_no_rate():
    record = detector().record
    few = replace(record, manifest={**record.manifest, "rules": {"ng": None, "review": None, "drift": None}})
    with pytest.raises(ValueError, match="states no false-alarm rate"):
        few.with_rates(review="5%")
