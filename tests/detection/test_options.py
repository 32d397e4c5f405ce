"""Rates as they are written are held exactly; what is no rate is refused by its field's name."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from gnl_jax import FitOptions
from gnl_jax.detection.threshold import make_rule

FIELDS = ("ng", "review", "drift")


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("rate", [0.29, "0.29", "29%", "29 %", Fraction(29, 100), np.float64(0.29), np.float32(0.29)])
def test_a_rate_is_exact_however_it_is_written(field, rate):
    options = FitOptions(**{field: rate})
    assert getattr(options, field) == Fraction(29, 100)
    # 29 of 100: as a product of floats, 0.29 * 100 is below 29.
    assert make_rule(getattr(options, field), 99).k == 29
    assert [getattr(options, other) for other in FIELDS if other != field] == [None, None]


def test_a_changed_copy_parses_its_rates():
    assert dataclasses.replace(FitOptions(ng="1%"), review=0.07) == FitOptions(ng=0.01, review=Fraction(7, 100))


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("rate", [0, 1, -0.1, "100%", "many", "nan", float("inf"), np.nan])
def test_what_is_no_rate_is_refused_by_name(field, rate):
    with pytest.raises(ValueError, match=rf"^{field}: rate: got"):
        FitOptions(**{field: rate})
