"""The shift report of a detector that scores by brightness: counts by part, pairs, verdict and page."""

import numpy as np
import pytest
from PIL import Image

from gnl_jax.config import default_config
from gnl_jax.config_io import plain_config
from gnl_jax.detection.detector import Detector
from gnl_jax.detection.limits import make_limits
from gnl_jax.detection.record import Calibration, Record, rule_record
from gnl_jax.detection.threshold import make_drift_rule, make_rules
from gnl_jax.methods.base import Prediction
from gnl_jax.report import examples, shift, shift_rows
from gnl_jax.report.html import report_page
from gnl_jax.report.shift import shift_report
from gnl_jax.report.shift_files import Files, ShiftOptions, _some

SIZE = 32


def brightness(detector, images, *, maps=True, advance=lambda n: None):
    """Score: the brightest quarter of the mean over pixels; the map is the image; no drift."""
    values = images.mean(axis=-1).astype(np.float32) / 255
    advance(len(images))
    return Prediction(values.reshape(len(images), -1).max(axis=1), values if maps else None)


@pytest.fixture
def detector(monkeypatch):
    for module in (shift, shift_rows, examples):
        monkeypatch.setattr(module, "predict", brightness)
    config = default_config()
    config.dataset.name, config.dataset.normal, config.dataset.size = "folder", "", SIZE
    rules, _ = make_rules(99)
    drift, _ = make_drift_rule(99)
    plain = plain_config(config)
    manifest = {
        "config": plain,
        "matching": "none",
        "batch_size": 8,
        "image": {name: plain["dataset"][name] for name in ("size", "resize", "filter", "white", "alpha")},
        "rules": {"ng": rule_record(rules.ng), "review": rule_record(rules.review), "drift": rule_record(drift)},
        "data": {"fit": [], "calibration": [], "group_by": ""},
        "made": {"date": "2026"},
        "parent": None,
    }
    scores = np.linspace(0.2, 0.5, 99, dtype=np.float32)
    record = Record(manifest, {"none": {}}, {"none": Calibration(scores, np.zeros(0, np.float32))})
    return Detector({}, None, SIZE, 8, record)


def write(folder, n, *, level):
    """Images of 48x32 pixels (wide) with a light square, each of its own background."""
    folder.mkdir(parents=True)
    for i in range(n):
        image = np.full((32, 48, 3), 60 + i, np.uint8)
        image[8:24, 8:24] = level
        Image.fromarray(image).save(folder / f"{i:03}.png")


@pytest.fixture
def report(detector, tmp_path):
    write(tmp_path / "good", 60, level=110)
    write(tmp_path / "bad" / "spot", 50, level=170)
    write(tmp_path / "lamp" / "good", 50, level=200)
    write(tmp_path / "lamp" / "spot", 50, level=255)
    return shift_report(
        detector,
        good=tmp_path / "good",
        bad=tmp_path / "bad",
        shifted={"lamp": tmp_path / "lamp"},
        file="p.gnl",
        options=ShiftOptions(("gain_up", "gain_down"), (1, 5), 46, 46),
        limits=make_limits(0.05),
    )


def test_the_report_counts_pairs_and_judges(report):
    rows = {row["name"]: row for row in report["conditions"]}
    assert list(rows) == ["clean", "lamp", "gain_up 1", "gain_up 5", "gain_down 1", "gain_down 5"]
    assert [row["n"] for row in rows.values()] == [60, 50, 46, 46, 46, 46]
    assert (rows["clean"]["stopped"], rows["clean"]["caught"], rows["clean"]["state"]) == (0, 50, "within limits")
    assert (rows["lamp"]["stopped"], rows["lamp"]["state"]) == (50, "too many false alarms")
    assert rows["lamp"]["lost"] is None
    dark = rows["gain_down 5"]
    assert (dark["caught"], dark["lost"], dark["gained"], dark["detection"]) == (0, 46, 0, "missing defects")
    assert report["verdict"]["state"] == "too many false alarms"
    assert report["verdict"]["found"].startswith("Under lamp: 50 of 50 good parts flagged")
    assert report["numbers"]["within"][1] == 6


def test_the_page_shows_it_with_examples_at_native_aspect(report):
    page = report_page(report)
    assert "Too many false alarms" in page
    dark = next(row for row in report["conditions"] if row["name"] == "gain_down 5")
    assert len(dark["missed"]) == 3
    import base64
    import io

    picture = Image.open(io.BytesIO(base64.b64decode(dark["missed"][0]["image"].partition(",")[2])))
    assert picture.size == (48, 32)


def test_parts_are_drawn_whole_and_evenly_over_kinds():
    names = tuple(f"{kind}/{part}{view}" for kind in "ab" for part in range(5) for view in "xy")
    files = Files(names, names, tuple(n[0] for n in names), tuple(n[:-1] for n in names))
    few = _some(files, 4, seed=0)
    assert sorted(few.defects) == ["a"] * 4 + ["b"] * 4
    assert len(set(few.parts)) == 4
