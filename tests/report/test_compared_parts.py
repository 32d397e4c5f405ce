"""What methods are compared on: simulated and real defects, parts of several images, and the words of a choice."""

import jax
import numpy as np
import pytest
from PIL import Image

from gnl_jax.data.pixels import pixel_hash
from gnl_jax.detection.detector import Detector
from gnl_jax.detection.options import inspection_config
from gnl_jax.detection.parts import GoodImages
from gnl_jax.evaluation.choice import Scores, choose
from gnl_jax.images.simulated_defects import KINDS
from gnl_jax.report.compare_words import recommendation
from gnl_jax.report.compared_parts import Conditions, drawn_from, milliseconds, part_scores, shown_parts
from gnl_jax.report.shift_files import Files


@pytest.fixture
def folder(tmp_path):
    for i in range(6):
        rng = np.random.default_rng(i)
        Image.fromarray(rng.integers(0, 256, (40 + 8 * i, 64, 3), np.uint8)).save(tmp_path / f"{i}.png")
    return tmp_path


def judging():
    """Six images of three parts."""
    names = tuple(f"{i}.png" for i in range(6))
    return GoodImages(np.zeros((6, 32, 32, 3), np.uint8), names, ("a", "a", "b", "b", "c", "c"), names)


def dataset():
    dataset = inspection_config().dataset
    dataset.size, dataset.cache = 32, ""
    return dataset


def test_simulated_defects_are_the_same_each_time(folder):
    shown = shown_parts(folder, judging(), None, families=("contrast",), seed=0)
    assert shown.simulated
    assert len(set(shown.bad.names)) == 12
    assert set(shown.bad.defects) == set(KINDS)
    assert drawn_from(shown) == [0] * 4 + [1] * 4 + [2] * 4
    one, again = (Conditions(shown).load(dataset(), None) for _ in range(2))
    np.testing.assert_array_equal(one.bad, again.bad)
    assert one.hashes[1] == tuple(map(pixel_hash, one.bad))
    assert (one.bad != np.repeat(one.good, 2, 0)).any((1, 2, 3)).all()
    conditions = Conditions(shown)
    shifted = conditions.load(dataset(), "contrast")
    assert shifted.bad.std() < one.bad.std() / 2
    assert conditions.load(dataset(), "contrast") is shifted
    other = Conditions(shown._replace(seed=1)).load(dataset(), None)
    assert (other.bad != one.bad).any()


def test_a_part_scores_as_its_highest_image(folder):
    bad = Files(("x", "y", "z"), ("x", "y", "z"), ("dent", "dent", "crack"), ("1", "1", "1"))
    shown = shown_parts(folder, judging(), bad, families=(), seed=0)
    scores = part_scores(shown, {"good": [[1, 2, 4, 3, 5, 6]], "bad": [[7, 9, 8]]})
    np.testing.assert_array_equal(scores.good, [[2, 4, 6]])
    np.testing.assert_array_equal(scores.bad, [[9, 8]])  # a kind of defect and a part
    assert drawn_from(shown) is None
    simulated = shown_parts(folder, judging(), None, families=(), seed=0)
    scores = part_scores(simulated, {"good": [[1, 2, 4, 3, 5, 6]], "bad": [list(range(12))]})
    np.testing.assert_array_equal(scores.bad, [list(range(12))])


def test_latency_is_of_one_image(monkeypatch):
    sizes = []
    detector = Detector({}, jax.jit(lambda variables, images: None), 32, 16)
    monkeypatch.setattr(
        "gnl_jax.report.compared_parts.predict", lambda one, images: sizes.append((one.batch_size, len(images)))
    )
    assert milliseconds(detector, np.zeros((3, 32, 32, 3), np.uint8)) >= 0
    assert set(sizes) == {(1, 1)}


def scores(caught):
    good, bad = np.arange(20) / 20, np.where(np.arange(20) < caught, 2.0, 0.0)
    return Scores(np.stack([good, good]), np.stack([bad, bad]))


def test_words():
    seconds = {"a": 1.0, "b": 30.0}

    def said(of_a, of_b):
        return recommendation(
            choose({"a": scores(of_a), "b": scores(of_b)}, seconds, rate=0.05), seconds, defects="dents"
        )

    clear = said(18, 3)
    assert clear["state"] == "clear"
    assert clear["text"].startswith(
        "Use a. a is the best in 1,000 of 1,000 redraws of your parts: the choice is clear. It"
    )
    assert "18 of 20 dents with 1 of 20 good parts flagged, and 18 under 1 of 1 shift without" in clear["text"]
    tie = said(17, 18)
    assert tie["method"] == "a"
    assert (
        "b is within one defective part of the best value; a was fitted fastest, in 1.0 s and not in 30.0 s."
        in tie["text"]
    )
    none = said(0, 0)
    assert (none["method"], none["state"]) == ("", "none")
    assert none["text"] == "No recommendation: no method detected a defect without too many false alarms."
