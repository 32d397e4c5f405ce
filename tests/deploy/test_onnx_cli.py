"""gnl-jax export --format onnx."""

import sys

import pytest
from onnx_detector import good_images, matched
from PIL import Image
from programs import status

from gnl_jax.deploy.onnx.runtime import read_model
from gnl_jax.detection.artifact import save

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_network"), pytest.mark.xdist_group("onnx")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A detector's file and a folder of good images."""
    folder = tmp_path_factory.mktemp("command")
    save(matched(), folder / "part.gnl")
    (folder / "good").mkdir()
    for i, image in enumerate(good_images(3, seed=2)):
        Image.fromarray(image).save(folder / "good" / f"{i}.png")
    return folder


def arguments(folder, *more):
    return ["export", str(folder / "part.gnl"), "--images", str(folder / "good"), *more]


@pytest.mark.slow
def test_the_command_writes_and_says_what_was_measured(folder, tmp_path, capsys):
    out = tmp_path / "part.onnx"
    assert status(arguments(folder, "--format", "onnx", "--out", str(out))) == 0
    said = capsys.readouterr().out
    assert "in batches of 1, 2 and 8; largest relative errors: score " in said
    assert "REVIEW within " in said
    assert {path.name for path in tmp_path.iterdir()} == {"part.onnx", "part.onnx.json", "gnl_onnx.py"}
    assert len(read_model(out)[0]["parent"]["sha256"]) == 64


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--target", "openvino"], "--target: got 'openvino' with --format stablehlo, expected --format onnx"),
        (["--format", "onnx", "--input-size", "x"], "--input-size: got 'x', expected HxW"),
        (["--format", "onnx", "--group-by", "x(.)"], "--group-by: got 'x(.)' without --int8"),
        (
            ["--format", "onnx", "--int8", "--calibration-images", ".", "--limit", "8"],
            "--limit: got 8 with --int8, which searches all --images",
        ),
    ],
)
def test_wrong_usage(more, message, folder, tmp_path, capsys):
    assert status(arguments(folder, "--out", str(tmp_path / "part"), *more)) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_named_with_its_extra(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert status(arguments(folder, "--out", str(tmp_path / "part.onnx"), "--format", "onnx")) == 2
    assert "expected the extra: pip install 'gnl-jax[onnx]'" in capsys.readouterr().err
