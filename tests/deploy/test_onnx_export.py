"""An ONNX model scores and decides as its detector, says REVIEW where it may not, and is not written otherwise."""

import dataclasses
import functools
import json
import re
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx_detector import good_images, matched, with_calibrations

from gnl_jax.deploy.onnx import check, export
from gnl_jax.deploy.onnx.check import Trials, measure
from gnl_jax.deploy.onnx.decision import Band
from gnl_jax.deploy.onnx.export import export_onnx
from gnl_jax.deploy.onnx.graph import Graph
from gnl_jax.deploy.onnx.model import make_graph
from gnl_jax.deploy.onnx.network import block
from gnl_jax.deploy.onnx.runtime import read_model
from gnl_jax.deploy.onnx.serialise import serialise
from gnl_jax.deploy.trials import ExportError, disturbed, squares, thresholds
from gnl_jax.detection.artifact import use_matching
from gnl_jax.detection.record import Calibration
from gnl_jax.methods.base import Method, Prediction
from gnl_jax.nn.blocks import BottleneckBlock
from gnl_jax.nn.folding import fold

pytestmark = [pytest.mark.usefixtures("small_network"), pytest.mark.xdist_group("onnx")]


@functools.cache
def unmatched():
    """The same weights without matching."""
    return use_matching(matched(), "none")


def session(data):
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {"images": images}), strict=True))


def other_images():
    good = good_images(6, seed=3)
    return good + disturbed(good[0]) + disturbed(good[1], seed=1)


def compared(detector, path, exported, tolerance):
    """Decisions on images that the export did not see; within its band of a threshold the model says REVIEW."""
    images = squares(detector, other_images())
    expected, got = detector(images), session(path.read_bytes())(images)
    np.testing.assert_allclose(got["score"], expected.score, rtol=tolerance)
    np.testing.assert_allclose(got["map"], expected.map, atol=tolerance * expected.map.max())
    np.testing.assert_allclose(got["drift"], expected.drift, rtol=tolerance)
    decisions = [["OK", "REVIEW", "NG"][i] for i in got["decision"]]
    reasons = [["", "score", "drift"][i] for i in got["reason"]]
    own = [(d.decision, d.reason) for d in detector.decide(expected)]
    away = [np.abs(got[t.kind] - t.value) > getattr(exported.band, t.kind) * abs(t.value) for t in thresholds(detector)]
    outside = np.logical_and.reduce(away)
    assert outside.sum() >= len(images) - 2
    assert [own[i] for i in np.flatnonzero(outside)] == [(decisions[i], reasons[i]) for i in np.flatnonzero(outside)]
    assert {decisions[i] for i in np.flatnonzero(~outside)} <= {"REVIEW"}
    np.testing.assert_allclose(got["p_value"], [d.p_value for d in detector.decide(expected)], rtol=1e-6)
    return decisions


def test_a_matched_detector_with_region_references_and_drift(shipped):
    exported, path = shipped
    assert set(compared(matched(), path, exported, check.MATCHED)) == {"OK", "REVIEW", "NG"}
    assert exported.errors.keys() == {"score", "map", "drift"}
    assert max(exported.errors.values()) <= check.MATCHED
    assert exported.images > 3 + 9 + 3
    assert {file.name for file in path.parent.iterdir()} == {"part.onnx", "part.onnx.json", "gnl_onnx.py"}


@pytest.mark.slow
def test_a_matched_resnet_18(tmp_path):
    detector = matched("resnet18")
    exported = export_onnx(detector, tmp_path / "part.onnx", images=good_images(3, seed=2))
    assert set(compared(detector, tmp_path / "part.onnx", exported, check.MATCHED)) == {"OK", "REVIEW", "NG"}
    assert exported.errors.keys() == {"score", "map", "drift"}
    assert max(exported.errors.values()) <= check.MATCHED


@pytest.mark.slow
def test_an_unmatched_detector_is_within_1e_5(tmp_path):
    exported = export_onnx(unmatched(), tmp_path / "part.onnx", images=good_images(3, seed=2))
    assert max(exported.errors.values()) <= check.UNMATCHED
    compared(unmatched(), tmp_path / "part.onnx", exported, check.UNMATCHED)


@pytest.mark.slow
def test_a_model_that_resizes_for_tensorrt(tmp_path, monkeypatch):
    images = good_images(3, seed=2, shapes=[(40, 48)])
    path = tmp_path / "part.onnx"
    monkeypatch.setattr(export, "near", lambda *arguments, **options: images[:1])  # no search
    export_onnx(matched(), path, images=images, input_size=(40, 48), target="tensorrt")
    expected, got = matched()(squares(matched(), images)), session(path.read_bytes())(np.stack(images))
    np.testing.assert_allclose(got["score"], expected.score, rtol=check.MATCHED)
    assert read_model(path)[0]["input"]["size"] == [40, 48]
    with pytest.raises(ValueError, match="images: got 40x48, expected 40x49: input_size"):
        export_onnx(matched(), path, images=images, input_size=(40, 49))


def test_openvino_is_checked_by_openvino(tmp_path):
    pytest.importorskip("openvino")
    path = tmp_path / "part.onnx"
    exported = export_onnx(matched(), path, images=good_images(3, seed=2), target="openvino")
    assert max(exported.errors.values()) <= check.MATCHED
    assert "openvino" in read_model(path)[0]["versions"]


def test_what_the_model_says_of_itself(shipped):
    exported, path = shipped
    model = onnx.load(path)
    said = json.loads(model.metadata_props[0].value)
    manifest = read_model(path)[0]
    assert manifest == said | {"model": manifest["model"]}
    assert (model.opset_import[0].version, model.ir_version) == (17, 8)
    ng, review, drift = (t.value for t in thresholds(matched()))
    assert said["thresholds"] == {"ng": ng, "review": review, "drift": drift}
    assert said["rules"] == matched().require_record().manifest["rules"]
    assert said["band"] == exported.band._asdict()
    assert said["calibration"] == {"score": 19, "drift": 19}
    assert {"gnl_jax", "onnx", "onnxruntime"} == said["versions"].keys()
    del model.graph.initializer[:]  # among millions of weights any three bytes occur
    assert not re.search(rb"\.py|/home/|/root/", model.SerializeToString())


def test_known_traps_are_nowhere_in_the_graph(shipped):
    """No mean with a division after it (OpenVINO), no value that a sort may find twice for ReLU's zeros."""
    nodes = onnx.load(shipped[1]).graph.node
    made_by = {name: node for node in nodes for name in node.output}
    operators = [(node.op_type, made_by[x].op_type) for node in nodes for x in node.input if x in made_by]
    assert ("Div", "ReduceMean") not in operators
    sorts = [pair for pair in operators if pair[0] == "TopK"]
    assert sorts
    assert set(sorts) == {("TopK", "Where")}


def test_inside_the_band_the_answer_is_review():
    """Scores that are thresholds themselves: there two runtimes may fall on either side."""
    images = squares(matched(), good_images(6, seed=3))
    score = matched()(images).score
    high, low = score.argmax(), score.argmin()
    calibration = np.sort(np.r_[np.full(16, score[low] * 0.5), score[low], score[low], score[high]].astype(np.float32))
    drift = np.full(19, 1e6, np.float32)
    detector = with_calibrations(matched(), {"efdm": Calibration(calibration, drift)})
    assert [t.value for t in thresholds(detector)] == [score[high], score[low], 1e6]
    got = session(serialise(make_graph(detector, band=Band(1e-3, 1e-3)), {}))(images)
    assert (got["decision"] == 1).all()
    assert (got["reason"] == 1).all()


def altered(change):
    """`make_graph` and then a change to its constants."""

    def make(*arguments, **options):
        graph = make_graph(*arguments, **options)
        change(graph)
        return graph

    return make


def scaled_constant(wanted, by):
    def change(graph):
        (name,) = [n for n, a in graph.constants.items() if a.shape == wanted.shape and np.array_equal(a, wanted)]
        graph.constants[name] = graph.constants[name] * np.float32(by)

    return change


def other_weights(graph):
    for name, array in graph.constants.items():
        if array.ndim == 4 and array.shape[-1] == 7:
            graph.constants[name] = array * np.float32(1.5)


def other_decision(graph):
    """OK and NG change places."""
    for i, node in enumerate(graph.nodes):
        if node.operator == "Less":
            graph.nodes[i] = node._replace(operator="Greater")


def other_calibration(graph):
    calibration = np.asarray(matched().require_record().calibration.score)[None]
    scaled_constant(calibration, 1.01)(graph)


@pytest.mark.parametrize(
    ("colour", "error", "limit", "allowed"),
    [
        (0, 5e-3, 2, True),
        (0, 5e-3, 1.02, True),
        (0, 5e-3, 1.008, True),
        (0, 5e-3, 0.992, True),
        (0, 2e-2, 2, False),
        ((3, 250), 5e-3, 2, True),
        ((3, 250), 5e-3, 1.008, True),
        ((3, 9, 250), 5e-3, 2, False),
        (None, 5e-3, 2, False),
    ],
)
def test_an_image_of_one_or_two_colours_may_differ_more_and_widens_the_band_near_a_threshold_alone(
    colour, error, limit, allowed
):
    calibration = Calibration(np.full(19, limit, np.float32), np.full(19, 1e6, np.float32))
    detector = with_calibrations(matched(), {"efdm": calibration})
    images = np.random.default_rng(4).integers(0, 256, (2, 32, 32, 3), np.uint8)
    if colour is not None:  # columns of each, of equal width; a tenth of the pixels may be anything
        images[1, 3:] = np.resize(colour, 32).repeat(3).reshape(32, 3)
    said = Prediction(*(np.ones((2, *shape), np.float32) for shape in ((), (1, 1), ())))
    got = said._replace(score=np.float32([1, 1 + error]))._asdict()
    trials = Trials(("a.png", "b.png"), images, said)
    if allowed:
        errors, band = measure(detector, {1: got}, trials)
        widened = error / limit if abs(limit - 1) < check.MATCHED_FLAT else 0
        assert (errors["score"], band.score) == (pytest.approx(error, rel=1e-3), pytest.approx(widened, rel=1e-3))
    else:
        with pytest.raises(ExportError, match=r"^b\.png: score of the graph is off by"):
            measure(detector, {1: got}, trials)


@pytest.mark.parametrize(("score", "error", "allowed"), [(0, 1e-3, True), (0, 4e-3, False), (0.05, 1e-3, False)])
def test_errors_of_an_image_in_the_bank_are_relative_to_the_lowest_threshold(score, error, allowed):
    """Its score is nearly 0, and so is its map; here the threshold is 2 and the tolerance 1e-3."""
    calibration = Calibration(np.full(19, 2, np.float32), np.full(19, 1e6, np.float32))
    detector = with_calibrations(matched(), {"efdm": calibration})
    images = np.random.default_rng(4).integers(0, 256, (1, 32, 32, 3), np.uint8)
    said = Prediction(np.float32([score]), np.full((1, 1, 1), score, np.float32), np.ones(1, np.float32))
    got = said._replace(score=np.float32([score + error]), map=said.map + np.float32(error))._asdict()
    trials = Trials(("a.png",), images, said)
    if allowed:
        assert measure(detector, {1: got}, trials)[0]["score"] == pytest.approx(error / 2, rel=1e-3)
    else:
        with pytest.raises(ExportError, match=r"^a\.png: score of the graph is off by"):
            measure(detector, {1: got}, trials)


BROKEN = {
    "a weight": (other_weights, r"^[abc]\.png: (score|map) of the graph is off by .* in a batch of 1, expected 0\.0+1"),
    "the decision": (other_decision, r"decision in a batch of 1: got \d, expected \d"),
    "the p-value": (other_calibration, r"p_value in a batch of 1: got"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", BROKEN)
def test_a_model_that_differs_is_not_written_and_the_image_is_named(what, tmp_path, monkeypatch):
    change, message = BROKEN[what]
    monkeypatch.setattr(export, "make_graph", altered(change))
    monkeypatch.setattr(export, "near", lambda *arguments, **options: good_images(1, seed=2))  # no search
    (tmp_path / "part.onnx").write_bytes(b"an earlier one")
    with pytest.raises(ExportError, match=message):
        export_onnx(matched(), tmp_path / "part.onnx", images=good_images(3, seed=2), names=["a.png", "b.png", "c.png"])
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"an earlier one"]


def test_a_fault_in_larger_batches_alone_is_found(tmp_path, monkeypatch):
    def faulty(data):
        run = session(data)

        def wrong(images):
            outputs = run(images)
            outputs["drift"][7:] *= 1.5
            return outputs

        return wrong

    monkeypatch.setitem(export.RUNS, "onnxruntime", faulty)
    monkeypatch.setattr(export, "near", lambda *arguments, **options: good_images(1, seed=2))  # no search
    with pytest.raises(ExportError, match=r"drift of the graph is off by 0\.5 in a batch of 8"):
        export_onnx(matched(), tmp_path / "part.onnx", images=good_images(3, seed=2))
    assert list(tmp_path.iterdir()) == []


def changed_config(**fields):
    record = matched().require_record()
    plain = json.loads(json.dumps(record.manifest["config"]))
    for field, value in fields.items():
        group, _, name = field.rpartition("__")
        (plain[group] if group else plain)[name] = value
    return dataclasses.replace(
        matched(), record=dataclasses.replace(record, manifest={**record.manifest, "config": plain})
    )


OWN = Method("mine", {}, (), finish=lambda *_: {}, score_batch=lambda *_: None)


@pytest.mark.parametrize(
    ("detector", "options", "message"),
    [
        (lambda: changed_config(precision="bfloat16"), {}, "got precision 'bfloat16', expected 'float32'"),
        (lambda: changed_config(method__system="kdad"), {}, "got method.system 'kdad', expected 'reverse_dist"),
        (matched, {"target": "coreml"}, "target: got 'coreml', expected one of onnxruntime, openvino, tensorrt"),
        (matched, {"images": []}, "images: got none"),
        (lambda: dataclasses.replace(matched(), record=None), {}, "not calibrated"),
        (lambda: dataclasses.replace(matched(), method=OWN), {}, "got a method of its own, 'mine'"),
    ],
)
def test_what_cannot_be_exported_is_refused_by_name(detector, options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        export_onnx(detector(), tmp_path / "part.onnx", **{"images": good_images(3, seed=2), **options})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("change", ["same", "project", "down", "up"])
def test_the_bottleneck_block_equals_ours(change):
    """Wide ResNet's block, small: the networks of ResNet-18 are compared as a whole above."""
    x = np.random.default_rng(0).normal(0, 1, (2, 4, 4, 8)).astype(np.float32)
    module = BottleneckBlock(12 if change == "project" else 8, 6, change)
    variables = module.init(jax.random.key(0), jnp.asarray(x))
    drawn = iter(np.random.default_rng(1).gamma(5, 0.2, (99, 64)).astype(np.float32))
    variables = jax.tree.map(lambda a: jnp.asarray(next(drawn)[: len(a)]) if a.ndim == 1 else a, variables)
    g = Graph()
    value = g.input("x", "float32", "batch", 8, 4, 4)
    y = block(g, value, fold(variables)["params"], bottleneck=True, change=change)
    g.output(y, "y", "float32", "batch", "c", "h", "w")
    run = onnxruntime.InferenceSession(serialise(g, {}), providers=["CPUExecutionProvider"])
    (got,) = run.run(None, {"x": x.transpose(0, 3, 1, 2)})
    np.testing.assert_allclose(got.transpose(0, 2, 3, 1), module.apply(variables, x), rtol=2e-5, atol=2e-5)


def test_the_shipped_file_names_no_folder_of_this_machine(shipped):
    text = (shipped[1].parent / "gnl_onnx.py").read_text()
    assert str(Path.home()) not in text
    imported = {line.split()[1].split(".")[0] for line in re.findall(r"^ *(?:from \S+ )?import .*", text, re.M)}
    assert imported - sys.stdlib_module_names == {"numpy", "PIL", "onnxruntime"}
