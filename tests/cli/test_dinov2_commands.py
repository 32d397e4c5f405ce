"""DINOv2 on the command line: which network, method, size and weights are meant; from a folder to an ONNX model."""

import json

import numpy as np
import pytest
from fitted import digits, write_images
from programs import status
from tiny_dinov2 import ARCH, tiny_dinov2

from gnl_jax.cli import fit, teacher
from gnl_jax.cli.arguments import UsageError
from gnl_jax.cli.main import parser
from gnl_jax.detection.artifact import load
from gnl_jax.nn.dinov2 import VARIANTS
from gnl_jax.nn.teachers import bank_teachers


def configured(*options):
    return fit.configuration(parser().parse_args(["fit", "good", "--out", "x.gnl", *options]))


@pytest.fixture(autouse=True)
def no_default(monkeypatch):
    monkeypatch.delenv("GNL_JAX_TEACHER", raising=False)


def test_a_network_named_as_teacher_brings_its_method_size_and_published_weights(monkeypatch):
    config = configured("--teacher", "dinov2_vits14")
    assert (config.teacher.arch, config.teacher.weights) == ("dinov2_vits14", "pretrained")
    assert (config.method.name, config.dataset.size) == ("dinov2_bank", 448)
    assert (config.eval.matching, config.method.memory_bank.sizes) == (("none",), ("1:last",))
    config = configured("--teacher", "random", "--arch", "dinov2_vitl14_reg", "--size", "224")
    assert (config.teacher.arch, config.teacher.weights) == ("dinov2_vitl14_reg", "random")
    assert (config.method.name, config.dataset.size) == ("dinov2_bank", 224)
    config = configured("--teacher", "dinov2_vits14", "--method", "matched_dinov2_bank")
    assert config.eval.matching == ("none", "efdm")
    assert configured("--teacher", "resnet18").method.name == configured().method.name == "matched_bank"


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        (("--teacher", "dinov2_vits14"), "pretrained"),
        (("--teacher", "resnet18"), "bundled"),
        (("--teacher", "wide_resnet50_2"), "imagenet"),
        (("--teacher", "own.safetensors"), "own.safetensors"),
        (("--arch", "dinov2_vitb14"), "random"),
        ((), "random"),
    ],
)
def test_the_environment_sets_the_weights_only_where_no_flag_does(options, weights, monkeypatch):
    monkeypatch.setenv("GNL_JAX_TEACHER", "random")
    assert configured(*options).teacher.weights == weights


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--teacher", "dinov2_vits14", "--arch", "resnet18"), "got dinov2_vits14 and resnet18, expected one network"),
        (
            ("--teacher", "dinov2_vits14", "--size", "256"),
            "--size: got 256, expected a multiple of 14 for dinov2_vits14",
        ),
        (
            ("--teacher", "dinov2_vitb14"),
            "no teacher weights for dinov2_vitb14: --arch dinov2_vitb14 --teacher FILE names",
        ),
        (
            ("--arch", "dinov2_vits14"),
            "`gnl-jax weights fetch dinov2_vits14` downloads them once, then --teacher pretrained",
        ),
    ],
)
def test_what_cannot_be_meant(options, message):
    with pytest.raises(UsageError, match=message):
        configured(*options)


def test_names_are_those_of_the_table():
    assert set(teacher.DINOV2) == set(VARIANTS)
    assert set(teacher.ARCHITECTURES) == set(bank_teachers())


@pytest.mark.slow
def test_from_a_folder_to_an_onnx_model(tmp_path, capsys):
    """Fit, score, shift, add, recalibrate, export; matched after a block, with a rectangle and drift."""
    good, test, bad = digits()
    write_images(tmp_path / "good", good[:40])
    write_images(tmp_path / "more", good[40:])
    write_images(tmp_path / "test", test[:20])
    write_images(tmp_path / "bad" / "six", bad[:6])
    part, options = tmp_path / "part.gnl", ("--arch", ARCH, "--teacher", "random", "--size", "56", "--roi", "2,2,44,36")

    def run(*argv):
        assert status([str(arg) for arg in argv]) == 0, capsys.readouterr().err

    with tiny_dinov2():
        run("fit", tmp_path / "good", *options, "--method", "matched_dinov2_bank", "--out", part)
        assert "RANDOM" in capsys.readouterr().out
        record = load(part).require_record()
        assert set(record.matchings) == {"efdm", "none"}
        assert record.matchings["efdm"]["drift"]["barycentre"].keys() == {"1"}
        run("score", part, tmp_path / "test", "--format", "jsonl", "--out", tmp_path / "x.jsonl")
        rows = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
        assert all(np.isfinite([row["score"], row["drift"]]).all() for row in rows)
        families = ("--families", "brightness", "--severities", "3")
        run(
            "shift",
            part,
            "--good",
            tmp_path / "test",
            "--bad",
            tmp_path / "bad",
            *families,
            "--out",
            tmp_path / "r.html",
        )
        assert (tmp_path / "r.html").exists()
        added = ("--good", tmp_path / "more", "--calibration-images", tmp_path / "good", "--out", tmp_path / "more.gnl")
        run("add", part, *added)
        assert len(load(tmp_path / "more.gnl").variables["parts"]) == len(record.manifest["data"]["fit"]) + 20
        new = ("--good", tmp_path / "test", "--condition", "lamp", "--out", tmp_path / "lamp.gnl", "--force")
        run("recalibrate", part, *new)
        run("export", part, "--images", tmp_path / "test", "--out", tmp_path / "part.gnlx")
        capsys.readouterr()
        run("export", part, "--format", "onnx", "--images", tmp_path / "test", "--out", tmp_path / "part.onnx")
        assert "largest relative errors: score " in capsys.readouterr().out
