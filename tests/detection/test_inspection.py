"""A stream of files: one result each, in order, the bad ones ERROR, and nothing depends on neighbours."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fitted import config
from PIL import Image

from gnl_jax.config_io import plain_config
from gnl_jax.detection.detector import Detector
from gnl_jax.detection.inspection import ERROR, inspect
from gnl_jax.detection.record import Calibration, Record, folder_drift, rule_record
from gnl_jax.detection.threshold import make_rule, make_rules, parse_rate
from gnl_jax.methods.base import Prediction

N = 99


@jax.jit
def brightness(variables, images):
    """Score: the brightest pixel; drift: the mean of all."""
    maps = images.astype(jnp.float32).mean(-1) / 255
    return Prediction(maps.max((1, 2)), maps, maps.mean((1, 2)) * variables["gain"])


def detector(batch_size=4, *, drift="0.01"):
    rules, _ = make_rules(N)
    calibration = Calibration(np.linspace(0, 0.5, N, dtype=np.float32), np.linspace(0, 0.25, N, dtype=np.float32))
    manifest = {
        "config": plain_config(config()),
        "matching": "none",
        "image": {"size": 32, "resize": 0, "filter": "bilinear", "white": 0.0, "alpha": "error"},
        "rules": {
            "ng": rule_record(rules.ng),
            "review": rule_record(rules.review),
            "drift": drift and rule_record(make_rule(parse_rate(drift), N)),
        },
    }
    record = Record(manifest, {"none": {}}, {"none": calibration})
    return Detector({"gain": jnp.float32(1)}, brightness, 32, batch_size, record)


@pytest.fixture
def files(tmp_path):
    """Grey images of 64 by 48 pixels with a bright spot: dark ones, one NG, one REVIEW, broken and missing ones."""
    paths = []
    for i, spot in enumerate([20, 255, 30, None, 125, 10, None, 40, 50]):
        path = tmp_path / f"{i}.png"
        if spot is not None:
            image = np.full((48, 64, 3), 10, np.uint8)
            image[12:24, 32:48] = spot
            Image.fromarray(image).save(path)
        elif i == 3:
            path.write_bytes(b"\x89PNG\r\n\x1a\nbroken")
        paths.append(path)
    return paths


def test_one_result_each_in_order(files):
    results = list(inspect(detector(), files))
    assert [r.path for r in results] == [str(path) for path in files]
    assert [r.decision for r in results] == ["OK", "NG", "OK", ERROR, "REVIEW", "OK", ERROR, "OK", "OK"]
    assert [r.reason for r in results if r.decision in ("NG", "REVIEW")] == ["score", "score"]
    assert "3.png" in results[3].reason
    assert "6.png" in results[6].reason
    assert results[3].score is None


def test_boxes_are_in_the_file_s_pixels(files):
    result = next(inspect(detector(), files[1:2]))
    assert result.boxes == ((32, 12, 16, 12),)
    assert next(inspect(detector(), files[:1])).boxes == ()


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_decisions_depend_on_nothing_but_the_image(files, batch_size):
    expected = {r.path: r for r in inspect(detector(batch_size), files)}
    other = {r.path: r for r in inspect(detector(), files)}
    for order in (files[::-1], [files[4]], files + files):
        for result in inspect(detector(batch_size), order, workers=1):
            assert result == expected[result.path]
            assert result[1:3] == other[result.path][1:3]  # another batch size is another program: rounding may differ


def test_images_and_maps_are_kept_on_request(files):
    kept = list(inspect(detector(), files[:2], keep=True))
    assert kept[0].image.shape == (32, 32, 3)
    assert kept[0].map.shape == (32, 32)
    assert next(inspect(detector(), files)).map is None


def test_a_score_that_is_no_number_is_an_error_of_its_image_alone(files):
    def broken(variables, images):
        prediction = brightness(variables, images)
        return prediction._replace(score=jnp.where(images.max((1, 2, 3)) == 30, jnp.nan, prediction.score))

    sound = detector()
    results = list(inspect(Detector(sound.variables, broken, 32, 4, sound.record), files))
    assert [r.decision for r in results] == ["OK", "NG", ERROR, ERROR, "REVIEW", "OK", ERROR, "OK", "OK"]
    assert "expected a finite number" in results[2].reason


def test_drift_turns_ok_into_review_and_nothing_else(files):
    sound = detector()
    shifted = Detector({"gain": jnp.float32(20)}, brightness, 32, 4, sound.record)
    results = [r for r in inspect(shifted, files) if r.decision != ERROR]
    assert [(r.decision, r.reason) for r in results] == [
        ("REVIEW", "drift"),
        ("NG", "score"),
        ("REVIEW", "drift"),
        ("REVIEW", "score"),
        ("REVIEW", "drift"),
        ("REVIEW", "drift"),
        ("REVIEW", "drift"),
    ]
    without = Detector({"gain": jnp.float32(20)}, brightness, 32, 4, detector(drift=None).record)
    assert {r.reason for r in inspect(without, files[:1])} == {""}


def test_a_folder_has_drifted_when_too_many_images_have():
    record = detector().record
    assert not folder_drift(record, [0.1] * 50).alarm
    found = folder_drift(record, [0.1] * 30 + [0.3] * 20)
    assert (found.small, found.n, found.expected, found.alarm) == (20, 50, 2.5, True)
    assert folder_drift(record, []) is None
