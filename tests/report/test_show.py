"""Figures of predictions and decisions, and a detector in a notebook."""

import dataclasses

import numpy as np
import pytest
from bright import detector

from gnl_jax.report.show import COLOURS, show, show_decisions, show_inspected


def predicted():
    """Four images, of which the last two are flagged, the last one rejected."""
    images = np.full((4, 32, 32, 3), 20, np.uint8)
    images[2, 8:16, 4:12], images[3, 20:, :8] = 125, 250
    prediction = detector(drift=None)(images)
    return images, prediction, detector(drift=None).decide(prediction)


def test_the_highest_scores_come_first_with_decision_and_map():
    images, prediction, decisions = predicted()
    _, threshold = detector().record.thresholds
    figure = show(prediction, images, decisions=decisions, threshold=threshold, columns=2)
    pictures = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in pictures[:2]] == ["NG  0.9804, p 0.01", "REVIEW  0.4902, p 0.03"]
    assert [axes.title.get_color() for axes in pictures[:3]] == [COLOURS[name] for name in ("NG", "REVIEW", "OK")]
    first, last = (np.asarray(pictures[i].images[0].get_array()) for i in (0, 3))
    assert (first[24:, :4] != images[3, 24:, :4]).any()
    np.testing.assert_array_equal(last, images[1])  # nothing exceeds the threshold
    figure.canvas.draw()


def test_results_of_inspect():
    images, prediction, _ = predicted()
    figure = show_inspected(list(detector(drift=None).inspect(images, keep=True)))
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert len(titles) == 4
    assert titles[0] == "NG  0.9804, p 0.01"
    with pytest.raises(ValueError, match="keep=True"):
        show_inspected(list(detector().inspect(images)))
    with pytest.raises(ValueError, match="decisions: got 1, expected 4"):
        show(prediction, images, decisions=[None])
    with pytest.raises(ValueError, match="4 images without maps"):
        show(prediction._replace(map=None), images)


def test_decisions_among_the_calibration():
    _, prediction, _ = predicted()
    figure = show_decisions(detector(drift=None), prediction)
    (axes,) = figure.axes
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == [
        "99 good parts that calibrate",
        "NG: 0.01 of good parts",
        "REVIEW: 0.05 of good parts",
        "1 NG",
        "1 REVIEW",
        "2 OK",
    ]
    assert [line.get_xdata()[0] for line in axes.lines[:2]] == list(detector().record.thresholds)
    figure.canvas.draw()


def test_a_detector_in_a_notebook_says_what_it_is_and_nothing_acts():
    one = detector()
    config = {**one.record.manifest["config"]}
    config["teacher"] = {**config["teacher"], "weights": "<script>alert(1)</script>\x1b"}
    made = {"versions": {"gnl_jax": "1", "jax": "2"}, "date": "2026-11-29", "device": "cpu"}
    record = dataclasses.replace(one.record, manifest={**one.record.manifest, "config": config, "made": made})
    shown = dataclasses.replace(one, record=record)._repr_html_()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b" in shown
    assert "<script" not in shown
    assert "<th>decides</th><td>99 calibration parts: NG above 0.5" in shown
    assert "<th>made</th><td>made 2026-11-29 on cpu" in shown
    assert "not calibrated" in dataclasses.replace(one, record=None)._repr_html_()
