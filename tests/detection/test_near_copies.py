"""Images that are almost the same on both sides of the division are named."""

import numpy as np
from tiny_bank import images

from gnl_jax.detection.near_copies import near_copies, thumbnails, warn_of_near_copies
from gnl_jax.detection.parts import GoodImages


def good(array, name):
    names = tuple(f"{name} {i}" for i in range(len(array)))
    return GoodImages(array, names, names, names)


def said_of(fitting, calibrating):
    said = []
    warn_of_near_copies(fitting, calibrating, say=said.append)
    return said


def test_a_second_photograph_of_a_part_is_found_and_other_parts_are_not():
    rng = np.random.default_rng(0)
    parts = np.kron(rng.integers(60, 180, (30, 8, 8, 3)), np.ones((1, 8, 8, 1)))
    first, rest = parts[:20], parts[20:]
    again = first[[3, 7]] + 20 + rng.normal(0, 4, (2, 64, 64, 3))  # brighter, with noise of its own
    fitting, calibrating = (
        good(a.astype(np.uint8), n) for a, n in ((first, "a"), (np.concatenate([rest, again]), "b"))
    )
    pairs = near_copies(fitting, calibrating)
    assert {(p.fitting, p.calibrating) for p in pairs} == {("a 3", "b 10"), ("a 7", "b 11")}
    assert pairs[0].distance <= pairs[1].distance < 2
    (text,) = said_of(fitting, calibrating)
    assert "2 of 12 calibration images are almost the same picture" in text
    assert "'b 10' and 'a 3'" in text
    assert said_of(fitting, calibrating.take(range(10))) == []


def test_only_some_are_named_and_nothing_is_said_without_calibration():
    fitting = good(images(8), "a")
    (text,) = said_of(fitting, good(images(8), "b"))
    assert text.count(" and 'a") == 3
    assert "and 5 more" in text
    assert said_of(fitting, fitting.take([])) == []


def test_thumbnails_of_any_side_are_means_of_areas():
    array = images(2)
    expected = array.reshape(2, 16, 2, 16, 2, 3).mean((2, 4, 5)).reshape(2, -1)
    np.testing.assert_allclose(thumbnails(array), expected - expected.mean(1, keepdims=True), atol=1e-3)
    assert thumbnails(np.zeros((1, 40, 40, 3), np.uint8)).shape == (1, 256)
