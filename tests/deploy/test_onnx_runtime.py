"""gnl_onnx.py refuses every altered byte, and says what `gnl-jax score` says with numpy and onnxruntime alone."""

import ast
import io
import json
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_detector import good_images, matched
from PIL import Image
from scipy import ndimage

from gnl_jax.deploy.onnx import map_boxes, runtime
from gnl_jax.deploy.onnx.export import write_model
from gnl_jax.deploy.onnx.inline import shipped_source
from gnl_jax.deploy.trials import disturbed
from gnl_jax.detection.boxes import defect_boxes, map_axes
from gnl_jax.detection.inspection import inspect
from gnl_jax.detection.rows import csv_writer, row
from gnl_jax.images.resize import Geometry
from gnl_jax.images.resize import resize as by_pillow

pytestmark = [pytest.mark.usefixtures("small_network"), pytest.mark.xdist_group("onnx")]
ABOUT = {"kind": "onnx", "schema": 1, "thresholds": {"ng": 0.5, "review": 0.25, "drift": None}, "rules": {"ng": None}}


@pytest.fixture(scope="module")
def alone():
    """The shipped file as a module, imported from its text."""
    module = SimpleNamespace()
    sys.modules["gnl_onnx_alone"] = module  # dataclasses look their module up
    space = module.__dict__
    space |= {"__name__": "gnl_onnx_alone"}
    exec(compile(shipped_source(), "gnl_onnx.py", "exec"), space)
    return module


@pytest.mark.slow
def test_every_altered_byte_of_model_and_manifest_is_refused(tmp_path, alone):
    """1,000 bytes, drawn: half of the model, half of the manifest; each of them changed by a drawn amount."""
    rng = np.random.default_rng(0)
    model, manifest, _ = write_model(tmp_path / "part.onnx", rng.bytes(5000), ABOUT)
    assert alone.read_model(model)[0]["thresholds"] == ABOUT["thresholds"]
    for file in (model, manifest):
        whole = file.read_bytes()
        for position, by in zip(rng.integers(0, len(whole), 500), rng.integers(1, 256, 500), strict=True):
            broken = bytearray(whole)
            broken[position] = (broken[position] + by) % 256
            file.write_bytes(broken)
            with pytest.raises(alone.ModelError, match=r"part\.onnx"):
                alone.read_model(model)
        for broken in (whole[:-1], whole + b" ", whole[1:], b""):
            file.write_bytes(broken)
            with pytest.raises(alone.ModelError, match=r"part\.onnx"):
                alone.read_model(model)
        file.write_bytes(whole)
    alone.read_model(model)


def test_a_manifest_that_says_the_same_in_other_bytes_is_refused():
    data = runtime.manifest_bytes(ABOUT)
    same = json.dumps(json.loads(data)).encode()
    with pytest.raises(runtime.ModelError, match=r"x\.json: damaged, altered"):
        runtime.read_manifest(same, name="x.json")
    assert runtime.read_manifest(data, name="x.json") == ABOUT


@pytest.mark.parametrize("missing", ["part.onnx", "part.onnx.json"])
def test_a_missing_file_is_named(missing, tmp_path):
    write_model(tmp_path / "part.onnx", b"model", ABOUT)
    (tmp_path / missing).unlink()
    with pytest.raises(runtime.ModelError, match=re.escape(f"{missing}: No such file")):
        runtime.load(tmp_path / "part.onnx")


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 9999), share=st.floats(0.05, 0.9), source=st.tuples(st.integers(1, 90), st.integers(1, 90)))
def test_boxes_equal_those_of_score(seed, share, source):
    rng = np.random.default_rng(seed)
    score_map = np.round(rng.random((16, 16)), 2 if seed % 2 else 5)  # equal peaks, and none
    geometry = Geometry(16, 20 if seed % 3 else 0)
    threshold = np.quantile(score_map, share)
    expected = defect_boxes(score_map, threshold, source=source, geometry=geometry)
    assert map_boxes.boxes(score_map, threshold, map_axes(geometry, source)) == expected


def test_a_region_that_winds_is_one():
    mask = np.zeros((9, 9), bool)
    mask[::2] = True
    mask[1::4, -1] = mask[3::4, 0] = True
    assert len(map_boxes.regions(mask)) == 1
    assert [len(rows) for rows, _ in map_boxes.regions(mask[::2] & (np.arange(9) != 4))] == [20, 20]
    assert map_boxes.regions(np.zeros((3, 3), bool)) == []


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 9999), share=st.floats(0, 1), shape=st.tuples(st.integers(1, 14), st.integers(1, 14)))
def test_regions_are_those_of_scipy(seed, share, shape):
    mask = np.random.default_rng(seed).random(shape) < share
    labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
    assert [[*map(list, region)] for region in map_boxes.regions(mask)] == [
        [*map(list, np.nonzero(labels == i + 1))] for i in range(count)
    ]


def test_the_shipped_file_says_everything_once():
    statements = ast.parse(shipped_source()).body
    texts = [ast.unparse(statement) for statement in statements]
    assert len(texts) == len(set(texts))
    imported = [(s.module, a.name) for s in statements if isinstance(s, ast.ImportFrom) for a in s.names]
    assert len(imported) == len(set(imported))


def test_the_resize_of_the_shipped_file_equals_pillow(alone):
    image = np.random.default_rng(0).integers(0, 256, (37, 90, 3), np.uint8)
    np.testing.assert_array_equal(alone.resize(image, 32, resize=35), by_pillow(image, Geometry(32, 35)))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Images as PNG files, and one that is none."""
    folder = tmp_path_factory.mktemp("images")
    good = good_images(3, seed=4)
    paths = []
    for i, image in enumerate([*good, *disturbed(good[0])]):
        paths.append(folder / f"{i}.png")
        Image.fromarray(image).save(paths[-1])
    (folder / "=broken.png").write_bytes(b"no image")
    return [*map(str, paths), str(folder / "=broken.png")]


def rows_of_score(files):
    return [row(result) for result in inspect(matched(), files)]


def test_the_records_are_those_of_score(shipped, files):
    """In a process in which neither jax nor this package nor scipy can be imported."""
    code = (
        "import sys, runpy\n"
        "for name in ('jax', 'jaxlib', 'flax', 'scipy', 'gnl_jax'): sys.modules[name] = None\n"
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    path = shipped[1]
    command = [sys.executable, "-c", code, path.parent / "gnl_onnx.py", path, *files, "--jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=path.parent)
    assert done.returncode == 0, done.stderr
    got, expected = [json.loads(line) for line in done.stdout.splitlines()], rows_of_score(files)
    for ours, theirs in zip(expected, got, strict=True):
        for kind in ("score", "drift"):
            np.testing.assert_allclose(theirs.pop(kind) or 0, ours.pop(kind) or 0, rtol=1e-3)
        assert theirs == ours
    assert {r["decision"] for r in got} == {"OK", "REVIEW", "NG", "ERROR"}
    assert any(r["boxes"] for r in got)


def test_csv_without_pillow(shipped, files, tmp_path, capsys, monkeypatch):
    """Without Pillow: arrays as .npy; an image file is an ERROR that says what is missing."""
    np.save(tmp_path / "0.npy", np.asarray(Image.open(files[0])))
    expected = io.StringIO()
    csv_writer(expected)(next(inspect(matched(), files[:1])))
    monkeypatch.setitem(sys.modules, "PIL", None)
    module = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "gnl_onnx_without_pillow", module)
    module.__dict__["__name__"] = "gnl_onnx_without_pillow"
    exec(compile(shipped_source(), "gnl_onnx.py", "exec"), module.__dict__)
    module.main([str(shipped[1]), str(tmp_path / "0.npy"), files[0]])
    header, first, second = capsys.readouterr().out.splitlines()
    assert header == expected.getvalue().splitlines()[0]
    assert first.split(",")[1] == expected.getvalue().splitlines()[1].split(",")[1]
    assert ",ERROR," in second
    assert "takes the package Pillow" in second


def test_what_the_model_cannot_take(shipped):
    model = runtime.load(shipped[1])
    for wrong in (np.zeros((1, 32, 32, 3)), np.zeros((32, 32, 3), np.uint8), np.zeros((0, 32, 32, 3), np.uint8), None):
        with pytest.raises(ValueError, match=r"images: got .*, expected uint8 \[n 32 32 3\] \(RGB\)"):
            model(wrong)
    broken = runtime.Model(model.manifest, lambda images: {"score": np.array([1, np.nan])})
    with pytest.raises(ValueError, match="score of image 1: got nan, expected a finite number"):
        broken(np.zeros((2, 32, 32, 3), np.uint8))


def test_a_file_that_holds_no_array_is_an_error(shipped, tmp_path):
    model, empty, several = runtime.load(shipped[1]), tmp_path / "empty.npy", tmp_path / "several.npy"
    empty.touch()
    with several.open("wb") as file:
        np.savez(file, a=np.zeros(3))
    found = model.inspect([str(empty), str(several)])
    assert [(one.path, one.decision) for one in found] == [(str(empty), "ERROR"), (str(several), "ERROR")]
    assert all(one.reason for one in found)


@pytest.mark.parametrize(
    ("arguments", "message"), [([], "usage: "), (["nowhere.onnx", "x.npy"], "error: nowhere.onnx")]
)
def test_usage_and_errors_of_its_command(arguments, message):
    with pytest.raises(SystemExit, match=message):
        runtime.main(arguments)


def test_an_image_may_be_a_file_its_bytes_or_an_array(shipped, files):
    model = runtime.load(shipped[1])
    by_path = model.inspect(files[0])
    data, array = Path(files[0]).read_bytes(), np.asarray(Image.open(files[0]))
    for other in (model.inspect(data), model.inspect(array), *model.inspect([data])):
        assert other == by_path._replace(path="image 0")
    assert model.inspect(b"no image").decision == "ERROR"
    assert [result.path for result in model.inspect([files[1], array])] == [files[1], "image 1"]
