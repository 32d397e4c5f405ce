"""`predict`: every image once, the same score whatever surrounds it, clear errors."""

import dataclasses
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gnl_jax.detection.detector import Detector, predict
from gnl_jax.detection.record import Calibration, Record, describe_rules, rule_record
from gnl_jax.detection.threshold import make_rule
from gnl_jax.methods.base import Prediction

SIZE, BATCH = 32, 4


def brightness(variables, images):
    maps = images.astype(jnp.float32).mean(-1) * variables["gain"]
    return Prediction(maps.max((1, 2)), maps)


@pytest.fixture(scope="module")
def detector():
    calls = []

    def score_batch(variables, images):
        calls.append(images.shape)
        return jax.jit(brightness)(variables, images)

    detector = Detector({"gain": jnp.float32(0.5)}, score_batch, size=SIZE, batch_size=BATCH)
    object.__setattr__(detector, "calls", calls)
    return detector


def images(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, SIZE, SIZE, 3), np.uint8)


def test_without_a_record_it_says_so_in_a_line(detector):
    assert repr(detector) == "Detector: 32x32, batches of 4, not calibrated"


def test_with_a_record_what_it_is_stands_in_three_lines(detector):
    manifest = {
        "config": {"method": {"name": "gnl"}, "teacher": {"arch": "resnet18", "weights": "imagenet"}},
        "matching": "efdm",
        "image": {},
        "rules": {"ng": None, "review": rule_record(make_rule(Fraction(1, 20), 19)), "drift": None},
        "data": {"fit": ["hash"] * 41},
        "made": {
            "date": "2026-01-02T03:04:05+00:00",
            "device": "cpu",
            "versions": {"gnl_jax": "0.1.0", "jax": "0.10.2"},
        },
        "parent": None,
    }
    scores = np.arange(19, dtype=np.float32) / 4
    calibrations = {"efdm": Calibration(scores, scores), "none": Calibration(2 * scores, scores)}
    record = Record(manifest, {"efdm": {"references": np.zeros(10**5)}, "none": {}}, calibrations)
    calibrated = dataclasses.replace(detector, record=record)
    rate = "5 % on average, with 95 % confidence at most 14.6 %"
    assert repr(calibrated).splitlines() == [
        "Detector: gnl, teacher resnet18 (imagenet), 32x32, matching efdm",
        f"  19 calibration parts: NG never; REVIEW above 4.5 (false alarms {rate}); REVIEW for drift never",
        "  made 2026-01-02T03:04:05+00:00 on cpu with gnl_jax 0.1.0, jax 0.10.2, from 41 images",
    ]
    assert repr(record) == f"Record(matching efdm, {describe_rules(record)})"
    parent = {"date": "2025-01-01", "condition": "line 2"}
    again = dataclasses.replace(record, manifest=manifest | {"matching": "none", "parent": parent})
    told = repr(dataclasses.replace(detector, record=again))
    assert "matching none" in told
    assert "REVIEW above 9 " in told
    assert told.endswith("from 41 images; recalibrated 2025-01-01 for 'line 2'")
    not_yet = dataclasses.replace(record, calibrations={})
    assert "  not calibrated\n" in repr(dataclasses.replace(detector, record=not_yet))


@pytest.mark.parametrize("n", [0, 1, BATCH - 1, BATCH, BATCH + 1, 3 * BATCH])
def test_every_image_is_scored_once_in_order_at_the_full_shape(detector, n):
    detector.calls.clear()
    seen = []
    batch = images(n)
    prediction = predict(detector, batch, advance=seen.append)
    expected = batch.astype(np.float64).mean(-1) / 2
    np.testing.assert_allclose(prediction.map, expected, rtol=1e-6)
    np.testing.assert_allclose(prediction.score, expected.max((1, 2), initial=0), rtol=1e-6)
    assert prediction.score.shape == (n,)
    assert sum(seen) == n
    assert set(detector.calls) <= {(BATCH, SIZE, SIZE, 3)}
    assert len(detector.calls) == -(-n // BATCH)


def test_scores_do_not_depend_on_how_many_there_are(detector):
    batch = images(2 * BATCH + 1)
    together = detector(batch)
    for i in range(len(batch)):
        alone = detector(batch[i : i + 1])
        assert alone.score[0] == together.score[i]
        assert (alone.map[0] == together.map[i]).all()


def test_a_score_that_is_no_number_is_an_error_naming_the_image(detector):
    def broken(variables, images):
        prediction = brightness(variables, images)
        return prediction._replace(score=jnp.where(images[:, 0, 0, 0] == 77, jnp.nan, prediction.score))

    batch = images(6)
    batch[:, 0, 0, 0] = [0, 0, 0, 0, 0, 77]
    with pytest.raises(ValueError, match=r"image 5: got nan, expected a finite"):
        predict(Detector(detector.variables, broken, SIZE, BATCH), batch)


@pytest.mark.parametrize(
    "wrong",
    [
        images(2).astype(np.float32),
        images(2)[0],
        images(2)[..., :1],
        images(2)[:, :16],
        [[1, 2], [3, 4]],
    ],
)
def test_other_images_are_refused(detector, wrong):
    with pytest.raises(ValueError, match=r"images: got .*expected uint8 \[n 32 32 3\]"):
        predict(detector, wrong)
