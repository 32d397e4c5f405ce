"""A detector with windows as an ONNX model: it takes windows, some at a time, and decides on the whole part."""

import itertools

import numpy as np
import onnxruntime
import pytest
from onnx_detector import good_images
from run_folders import small_architecture
from untrained import config

from gnl_jax.deploy.onnx.export import export_onnx
from gnl_jax.deploy.onnx.graph import Graph
from gnl_jax.deploy.onnx.int8 import export_int8
from gnl_jax.deploy.onnx.part_run import FIRST, run_part
from gnl_jax.deploy.onnx.part_scoring import part_so_far
from gnl_jax.deploy.onnx.runtime import load
from gnl_jax.deploy.onnx.scoring import Scored
from gnl_jax.deploy.onnx.serialise import serialise
from gnl_jax.deploy.trials import disturbed
from gnl_jax.detection.fit import fit
from gnl_jax.detection.inspection import inspect
from gnl_jax.detection.options import FitOptions
from gnl_jax.detection.region import Region
from gnl_jax.detection.rows import row
from gnl_jax.detection.windows import Windows, cut_windows, place_windows

pytestmark = [pytest.mark.usefixtures("small_network"), pytest.mark.xdist_group("onnx")]


@pytest.fixture(scope="module")
def carrying():
    """A session that takes scores and drifts of windows as they are."""
    g = Graph()
    windows = Scored(g.input("score", "float32", "batch"), "", g.input("drift", "float32", "batch"))
    part, after = part_so_far(g, windows)
    for value, name, size in ((part.score, "part", 1), (part.drift, "mean", 1), (after, "after", 3)):
        g.output(value, name, "float32", size)
    return onnxruntime.InferenceSession(serialise(g, {}), providers=["CPUExecutionProvider"])


def carried(session, scores, drifts, at_once):
    part, mean, after = None, None, FIRST
    for i in range(0, len(scores), at_once):
        some = {"score": scores[i : i + at_once], "drift": drifts[i : i + at_once]}
        part, mean, after = session.run(None, some | {"before": after})
    return part, mean, after


@pytest.mark.parametrize("at_once", [1, 3, 7])
def test_a_parts_numbers_are_carried_from_call_to_call(at_once, carrying):
    rng = np.random.default_rng(0)
    scores, drifts = rng.normal(-9, 2, 7).astype(np.float32), rng.random(7, np.float32)
    part, mean, after = carried(carrying, scores, drifts, at_once)
    np.testing.assert_array_equal(part, [scores.max()])
    np.testing.assert_allclose(mean, [drifts.mean()], rtol=1e-6)
    np.testing.assert_allclose(after, [scores.max(), drifts.sum(), 7], rtol=1e-6)


@pytest.mark.parametrize(("wrong", "at_once"), [*itertools.product([np.nan, np.inf, -np.inf], [1, 3, 7])])
def test_a_score_that_is_not_finite_is_not_lost(wrong, at_once, carrying):
    scores = np.array([5, 1, wrong, 4, 9, 2, 3], np.float32)
    part, _, _ = carried(carrying, scores, np.zeros(7, np.float32), at_once)
    assert np.isnan(part)


@pytest.mark.parametrize("resizes", [False, True])
def test_windows_are_cut_and_resized_as_the_detector_does(resizes):
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    grid = place_windows(Windows(size=40), (50, 70), side=32, area=(5, 3, 45, 60))
    given, seen = [], []

    def run(windows, before):
        given.append((windows, before))
        return {"after": before + 1, "map": windows[:, 0, 0], "score": np.zeros(1)}

    outputs = run_part(run, image, grid, resizes=resizes, at_once=3, see=lambda i, score_map: seen.append(i))
    assert outputs.keys() == {"score"}
    assert seen == list(range(grid.count))
    assert [len(windows) for windows, _ in given] == [3, 1]
    np.testing.assert_array_equal([before for _, before in given], [FIRST, FIRST + 1])
    windows = np.concatenate([windows for windows, _ in given])
    if resizes:
        y, x = (first + corner for first, corner in zip(grid.area, grid.corner(3)))
        np.testing.assert_array_equal(windows[3], image[y : y + 40, x : x + 40])
    else:
        np.testing.assert_array_equal(windows, cut_windows(image, grid, range(grid.count)))


@pytest.fixture(scope="module")
def parts():
    """Smooth images of 60x64 pixels, of which 50 calibrate: enough for a rate by drift as well."""
    return np.stack(good_images(64, seed=1, shapes=[(60, 64)]))


@pytest.fixture(scope="module")
def windowed(parts):
    """Windows of 48 pixels, seen at 32, within a rectangle."""
    options = config(method="matched_bank", arch="resnet10", size=32, batch_size=4)
    options.method.memory_bank.rows = 50.0
    region = Region((2, 4, 62, 54))
    with small_architecture():
        return fit(parts, options, options=FitOptions(review="10%", calibration=50, window_size=48, region=region))


@pytest.mark.slow
@pytest.mark.parametrize("input_size", [None, (48, 48)])
def test_a_model_decides_as_its_detector(input_size, windowed, parts, tmp_path):
    assert windowed.grid.count == 4
    exported = export_onnx(windowed, tmp_path / "part.onnx", images=list(parts[:3]), input_size=input_size)
    assert max(exported.errors.values()) < 1e-3
    model = load(tmp_path / "part.onnx")
    assert model.shape == (60, 64)
    others = good_images(4, seed=3, shapes=[(60, 64)])
    shown = [*others, *disturbed(others[0])]
    found = model.inspect(shown)
    for ours, theirs in zip(inspect(windowed, shown), found, strict=True):
        expected, got = row(ours), row(theirs)
        for kind in ("score", "drift"):
            np.testing.assert_allclose(got.pop(kind), expected.pop(kind), rtol=1e-3)
        assert got == expected
    assert {one.decision for one in found} == {"OK", "REVIEW"}
    assert any(one.boxes for one in found)
    np.testing.assert_allclose(model(np.stack(shown))["map"], windowed(np.stack(shown)).map, atol=2e-2)
    wrong = model.inspect(parts[0][1:])
    assert (wrong.decision, wrong.reason) == (
        "ERROR",
        "image 0: got 64x59 pixels, expected 64x60, as all images with windows have",
    )


@pytest.mark.slow
def test_what_a_model_with_windows_cannot_be(windowed, parts, tmp_path):
    with pytest.raises(ValueError, match="input_size: got 60x64 with windows, expected 48x48"):
        export_onnx(windowed, tmp_path / "part.onnx", images=list(parts[:3]), input_size=(60, 64))
    with pytest.raises(ValueError, match="images: got 64x59 pixels, expected 64x60"):
        export_onnx(windowed, tmp_path / "part.onnx", images=[parts[0][1:]])
    with pytest.raises(ValueError, match=r"2x2 windows .*; with int8 expected one of whole images"):
        export_int8(windowed, tmp_path / "part.onnx", images=list(parts), calibration=None)
    assert not list(tmp_path.iterdir())
