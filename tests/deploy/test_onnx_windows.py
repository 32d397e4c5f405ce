"""A detector with windows as an ONNX model: it takes windows, some at a time, and decides on the whole part."""

import itertools

import numpy as np
import pytest
from onnx_detector import good_images
from run_folders import small_architecture
from untrained import config

from gnl_jax.deploy.onnx.check import Shown, Trials, measure
from gnl_jax.deploy.onnx.export import export_onnx
from gnl_jax.deploy.onnx.graph import Graph
from gnl_jax.deploy.onnx.int8 import export_int8
from gnl_jax.deploy.onnx.part_run import FIRST, native_windows, run_part
from gnl_jax.deploy.onnx.part_scoring import part_so_far
from gnl_jax.deploy.onnx.run import RUNS
from gnl_jax.deploy.onnx.runtime import Model, load
from gnl_jax.deploy.onnx.scoring import Scored
from gnl_jax.deploy.onnx.serialise import serialise
from gnl_jax.deploy.trials import ExportError, disturbed
from gnl_jax.detection.fit import fit
from gnl_jax.detection.inspection import inspect
from gnl_jax.detection.options import FitOptions
from gnl_jax.detection.region import Region
from gnl_jax.detection.rows import row
from gnl_jax.detection.windows import Joined, Windows, cut_windows, grid_record, place_windows
from gnl_jax.methods.base import Prediction

pytestmark = [pytest.mark.usefixtures("small_network"), pytest.mark.xdist_group("onnx")]


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def carrying(request):
    """Runs a graph that takes scores and drifts of windows as they are."""
    pytest.importorskip(request.param)
    g = Graph()
    windows = Scored(g.input("images", "float32", "batch"), "", g.input("drifts", "float32", "batch"))
    part, after = part_so_far(g, windows)
    for value, name, size in ((part.score, "score", 1), (part.drift, "drift", 1), (after, "after", 3)):
        g.output(value, name, "float32", size)
    return RUNS[request.param](serialise(g, {}))


def carried(run, scores, drifts, at_once):
    outputs = {"after": FIRST}
    for i in range(0, len(scores), at_once):
        outputs = run(scores[i : i + at_once], drifts=drifts[i : i + at_once], before=outputs["after"])
    return outputs["score"], outputs["drift"], outputs["after"]


@pytest.mark.parametrize("at_once", [1, 3, 7])
def test_a_parts_numbers_are_carried_from_call_to_call(at_once, carrying):
    rng = np.random.default_rng(0)
    scores, drifts = rng.normal(-9, 2, 7).astype(np.float32), rng.random(7, np.float32)
    part, mean, after = carried(carrying, scores, drifts, at_once)
    np.testing.assert_array_equal(part, [scores.max()])
    np.testing.assert_allclose(mean, [drifts.mean()], rtol=1e-6)
    np.testing.assert_allclose(after, [scores.max(), drifts.mean(), 7], rtol=1e-6)


def test_the_mean_drift_of_many_equal_windows_is_theirs(carrying):
    drifts = np.full(3000, 0.7, np.float32)
    _, mean, _ = carried(carrying, np.zeros(3000, np.float32), drifts, 1)
    np.testing.assert_array_equal(mean, drifts[:1])


@pytest.mark.parametrize(("wrong", "at_once"), [*itertools.product([np.nan, np.inf, -np.inf], [1, 3, 7])])
def test_a_score_that_is_not_finite_is_not_lost(wrong, at_once, carrying):
    scores = np.array([5, 1, wrong, 4, 9, 2, 3], np.float32)
    part, _, _ = carried(carrying, scores, np.zeros(7, np.float32), at_once)
    assert np.isnan(part)


GRID = place_windows(Windows(size=40), (50, 70), side=32, area=(5, 3, 45, 60))
IMAGE = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)


def test_a_part_is_shown_some_windows_at_a_time():
    given, seen = [], []

    def run(windows, before):
        given.append((windows, before))
        return {"after": before + 1, "map": windows[:, 0, 0], "score": np.zeros(1)}

    outputs = run_part(run, IMAGE, GRID, cut=native_windows, at_once=3, see=lambda i, score_map: seen.append(i))
    assert outputs.keys() == {"score"}
    assert seen == list(range(GRID.count))
    assert [len(windows) for windows, _ in given] == [3, 1]
    np.testing.assert_array_equal([before for _, before in given], [FIRST, FIRST + 1])
    y, x = (first + corner for first, corner in zip(GRID.area, GRID.corner(3)))
    np.testing.assert_array_equal(given[1][0][0], IMAGE[y : y + 40, x : x + 40])


@pytest.mark.parametrize("resizes", [False, True])
def test_the_runtime_shows_what_the_detector_sees_and_joins_the_maps(resizes):
    given = []

    def run(windows, before):
        given.append(windows)
        maps = np.float32(windows[:, :32, :32, 0])
        return {"after": before, "map": maps, "score": maps.max((1, 2)).max(keepdims=True)}

    manifest = {"image": {"windows": grid_record(GRID)}, "resizes": resizes}
    outputs = Model(manifest, run)(IMAGE[None])
    shown, joined = cut_windows(IMAGE, GRID, range(GRID.count)), Joined(GRID)
    if not resizes:
        np.testing.assert_array_equal(np.concatenate(given), shown)  # by Pillow there, by NumPy here
    assert given[0].shape[1:3] == ((40, 40) if resizes else (32, 32))
    for i, window in enumerate(given[0]):
        joined.add(i, np.float32(window[:32, :32, 0]))
    np.testing.assert_array_equal(outputs["map"], joined.result()[None])


@pytest.mark.slow
@pytest.mark.parametrize("flat", [True, False])
def test_a_highest_window_of_one_colour_is_judged_as_an_image_of_one_colour(flat, windowed):
    """Its map and score may be off by 1e-2 where a part with texture may be by 1e-3; the part itself has texture."""
    expected = Prediction(np.ones(1, np.float32), np.ones((1, 32, 32), np.float32), np.ones(1, np.float32))
    trials = Trials(("part",), IMAGE[None], expected, Shown(np.array([0]), np.array([flat])))
    outputs = {1: {"score": np.float32([1.005]), "map": expected.map, "drift": expected.drift}}
    if flat:
        assert 0.004 < measure(windowed, outputs, trials)[0]["score"] < 0.006
    else:
        with pytest.raises(ExportError, match=r"part: score of the graph is off by 0\.005"):
            measure(windowed, outputs, trials)


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
@pytest.mark.parametrize(
    ("input_size", "target"), [(None, "onnxruntime"), ((48, 48), "onnxruntime"), (None, "openvino")]
)
def test_a_model_decides_as_its_detector(input_size, target, windowed, parts, tmp_path):
    pytest.importorskip(target)
    assert windowed.grid.count == 4
    options = {"input_size": input_size, "target": target}
    exported = export_onnx(windowed, tmp_path / "part.onnx", images=list(parts[:3]), **options)
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
    reasons = {"ERROR": "image 0: got 64x59 pixels, expected 64x60, as all images with windows have"}
    assert {one.decision: one.reason for one in [model.inspect(parts[0][1:])]} == reasons
    for other in (np.zeros(5, np.uint8), np.zeros((60, 64), np.uint8), np.zeros((60, 64, 3), np.uint16)):
        assert (
            model.inspect(other).reason
            == f"images: got {other.dtype} {[1, *other.shape]}, expected uint8 [n 60 64 3] (RGB)"
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
