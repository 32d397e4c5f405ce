"""8-bit models: thresholds of their own, from images that calibrate; written only within bounds."""

import dataclasses

import numpy as np
import pytest
from programs import status
from small_banks import pictures
from untrained import config, untrained

pytest.importorskip("onnxruntime")
import onnx

from gnl_jax.data.pixels import pixel_hash
from gnl_jax.deploy.onnx import int8
from gnl_jax.deploy.onnx.check import check_measured
from gnl_jax.deploy.onnx.graph import Graph
from gnl_jax.deploy.onnx.int8 import compare, export_int8
from gnl_jax.deploy.onnx.model import make_graph
from gnl_jax.deploy.onnx.quantise import quantised_nodes
from gnl_jax.deploy.onnx.runtime import load
from gnl_jax.deploy.trials import ExportError, pasted, squares
from gnl_jax.detection.parts import good_images

pytestmark = pytest.mark.usefixtures("small_network")
SIZE, LEARN, N = 64, 6, 25


@pytest.fixture(scope="module")
def made(small_network):
    """(a memory bank of six images, all 25 good images)."""
    images = pictures(N, size=SIZE)
    detector = untrained(images, config(method="patchcore", arch="resnet10", size=SIZE, matching="none"), learn=LEARN)
    hashes = [*map(pixel_hash, images)]
    manifest = detector.record.manifest
    data = {**manifest["data"], "fit": hashes[:LEARN], "calibration": hashes[LEARN:]}
    record = dataclasses.replace(detector.record, manifest={**manifest, "data": data})
    return dataclasses.replace(detector, record=record), images


def export(made, path, *, images=None, calibration=None, **options):
    detector, all_images = made
    images = all_images if images is None else images
    calibration = all_images[LEARN:] if calibration is None else calibration
    good = good_images(calibration, detector.record.config.dataset)
    return export_int8(detector, path, images=images, calibration=good, **options)


def test_it_decides_by_its_own_calibration(made, tmp_path, caplog):
    said = []
    found = export(made, tmp_path / "part.onnx", say=said.append)
    assert f"8-bit ranges are those of {LEARN} images that were learned from" in said
    model = load(tmp_path / "part.onnx")
    images = made[1]
    calibrating = np.sort(np.concatenate([model(image[None])["score"] for image in images[LEARN:]]))
    rule = made[0].record.rules.review
    assert found.thresholds[1] == model.manifest["thresholds"]["review"] == calibrating[rule.n - rule.k]
    assert found.thresholds != made[0].record.thresholds
    bad = pasted(images, count=1)
    outputs = model(np.concatenate([images, bad]))
    band = model.manifest["band"]["score"]
    off = outputs["score"] - found.thresholds[1]
    assert (outputs["reason"][off < -band * found.thresholds[1]] != 1).all()
    assert (outputs["reason"][off > band * found.thresholds[1]] == 1).all()
    assert set(outputs["decision"][outputs["reason"] != 0]) <= {1, 2}
    assert found.correlation == model.manifest["int8"]["correlation"] >= 0.95
    assert found.auroc[1] >= found.auroc[0] - 0.01
    assert found.size[1] < 0.6 * found.size[0]
    nodes = onnx.load(found.paths[0]).graph.node
    made_by = {name: node.op_type for node in nodes for name in node.output}
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    assert convolutions
    assert {made_by[name] for node in convolutions for name in node.input[:2]} == {"DequantizeLinear"}
    assert caplog.text == ""


@pytest.mark.slow
def test_a_model_that_resizes_scores_alike(made, tmp_path):
    """Its images are the squares: the resize changes none of their bits."""
    export(made, tmp_path / "a.onnx")
    export(made, tmp_path / "b.onnx", input_size=(SIZE, SIZE))
    a, b = load(tmp_path / "a.onnx"), load(tmp_path / "b.onnx")
    assert (a.manifest["resizes"], b.manifest["resizes"]) == (False, True)
    assert a(made[1])["score"].tobytes() == b(made[1])["score"].tobytes()


@pytest.mark.slow
def test_a_model_that_resizes_images_of_another_size_scores_alike(made, tmp_path):
    detector, native = made[0], made[1].repeat(2, axis=1)
    seen = squares(detector, list(native))
    assert not np.array_equal(seen, made[1])
    hashes, manifest = [*map(pixel_hash, seen)], detector.record.manifest
    data = {**manifest["data"], "fit": hashes[:LEARN], "calibration": hashes[LEARN:]}
    record = dataclasses.replace(detector.record, manifest={**manifest, "data": data})
    own = dataclasses.replace(detector, record=record)
    for name, size in (("a.onnx", None), ("b.onnx", (2 * SIZE, SIZE))):
        export((own, native), tmp_path / name, calibration=seen[LEARN:], input_size=size)
    a, b = load(tmp_path / "a.onnx"), load(tmp_path / "b.onnx")
    np.testing.assert_allclose(b(native)["score"], a(seen)["score"], rtol=1e-6)


@pytest.mark.slow
def test_nothing_is_written_where_the_written_model_scores_otherwise(made, tmp_path, monkeypatch):
    """Three are run: the float model, that which sets the thresholds, and the one that is written."""
    runs, real = [], int8.run_all

    def another_score(*arguments):
        runs.append(real(*arguments))
        if len(runs) < 3:
            return runs[-1]
        return {size: {**got, "score": got["score"] * np.float32(1.001)} for size, got in runs[-1].items()}

    monkeypatch.setattr(int8, "run_all", another_score)
    with pytest.raises(ExportError, match="score of the model to be written"):
        export(made, tmp_path / "part.onnx")
    assert len(runs) == 3
    assert not (tmp_path / "part.onnx").exists()


def test_a_model_that_scores_otherwise_than_the_one_that_set_the_thresholds_is_refused(made):
    limit = made[0].record.thresholds[1]
    measured = {1: {"score": np.float32([0, limit, 2 * limit])}}
    check_measured(made[0], {1: {"score": np.float32([1e-7 * limit, limit, 2 * limit])}}, measured)
    off = {1: {"score": np.float32([0, limit * (1 + 1e-5), 2 * limit])}}
    with pytest.raises(ExportError, match=r"^int8: image 1: score of the model to be written is .* in a batch of 1"):
        check_measured(made[0], off, measured)


@pytest.mark.slow
def test_other_images_set_no_range_and_no_threshold(made, tmp_path):
    images = made[1]
    with pytest.raises(ValueError, match="images: got 3 of the 6 that the detector has learned from"):
        export(made, tmp_path / "part.onnx", images=images[3:])
    with pytest.raises(ValueError, match="calibration: got 18 of the 19 images that calibrate"):
        export(made, tmp_path / "part.onnx", calibration=images[LEARN + 1 :])
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_float_graph_is_refused_before_it_is_quantised(made, tmp_path, monkeypatch):
    """One whose first convolution is another: the detector is compared, not the graph with itself."""

    def wrong(*arguments, **options):
        graph = make_graph(*arguments, **options)
        first = next(name for name, array in graph.constants.items() if array.ndim == 4 and array.shape[-1] > 1)
        graph.constants[first] = graph.constants[first] * np.float32(1.5)
        return graph

    monkeypatch.setattr(int8, "make_graph", wrong)
    monkeypatch.setattr(int8, "quantise", None)
    with pytest.raises(ExportError, match=r"^image 0: (score|map) of the graph is off by .* in a batch of 1"):
        export(made, tmp_path / "part.onnx")
    assert list(tmp_path.iterdir()) == []


def scores(values):
    """A model that says so, whatever it is shown."""
    given = iter(values)
    return lambda images: {"score": np.array([next(given) for _ in images], np.float32)}


def test_what_ranks_otherwise_is_refused():
    good, bad = pictures(10), pictures(10, seed=1)
    right, near = np.arange(20.0), np.arange(20.0)
    near[[3, 4]] = near[[4, 3]]
    correlation, auroc = compare((scores(right), scores(near)), good, bad)
    assert correlation == pytest.approx(1 - 6 * 2 / (20 * 399))
    assert auroc == (1, 1)
    with pytest.raises(ExportError, match=r"correlate with those in float32 by 0\.\d+ \(Spearman\)"):
        compare((scores(right), scores(right % 10)), good, bad)
    near = right.copy()
    near[[9, 10, 11]] = near[[11, 10, 9]]  # two of a hundred pairs fall the other way
    with pytest.raises(ExportError, match=r"AUROC on simulated defects 98\.0 %, 100\.0 % in float32"):
        compare((scores(right), scores(near)), good, bad)


def test_sums_of_branches_stay_float():
    g = Graph()
    x = g.input("images", "float32", "batch", 3, 8, 8)
    kernel = np.zeros((3, 3, 1, 1))
    pooled = g.add("MaxPool", g.add("Relu", first := g.add("Conv", x, kernel)), kernel_shape=[2, 2])
    total = g.add("Add", second := g.add("Conv", pooled, kernel), pooled)
    last = g.add("Relu", total)
    relu = next(node.inputs[0] for node in g.nodes if node.operator == "MaxPool")
    assert set(quantised_nodes(g)) == {first, relu, pooled, second}
    assert last not in quantised_nodes(g)


def test_every_convolution_is_quantised(made):
    graph = make_graph(made[0])
    names = set(quantised_nodes(graph))
    assert {node.outputs[0] for node in graph.nodes if node.operator == "Conv"} <= names
    assert not any(node.operator in ("MatMul", "Add") and node.outputs[0] in names for node in graph.nodes)


def test_simulated_defects():
    good = pictures(4, size=64)
    bad = pasted(good, count=2)
    assert bad.tobytes() == pasted(good, count=2).tobytes()
    for i, image in enumerate(bad):
        changed = (image != good[i // 2]).any(-1)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        assert 0 < np.ptp(rows) < 16
        assert 0 < np.ptp(columns) < 16


@pytest.mark.parametrize(
    "options",
    [
        ("--int8", "--format", "onnx"),
        ("--int8", "--calibration-images", "."),
        ("--calibration-images", ".", "--format", "onnx"),
        ("--int8", "--calibration-images", ".", "--format", "onnx", "--target", "openvino"),
    ],
)
def test_options_that_do_not_go_together(options, tmp_path, capsys):
    assert status(["export", "absent.gnl", "--out", str(tmp_path / "x.onnx"), "--images", ".", *options]) == 2
    assert "--int8" in capsys.readouterr().err
