"""Detectors, exports and run folders of an earlier version load and give what they gave (tests/formats/README.md)."""

import functools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

import gnl_jax
from gnl_jax.config_io import load_config
from gnl_jax.data.protocol import LabelledImages, Task
from gnl_jax.deploy import runtime
from gnl_jax.evaluation.restore import restore_detector
from gnl_jax.methods import distillation
from gnl_jax.methods.reverse_distillation import stage_shapes
from gnl_jax.nn import resnet
from gnl_jax.nn.blocks import ARCHITECTURES, Architecture
from gnl_jax.nn.resnet import ResNet, init_teacher
from gnl_jax.nn.teachers import TEACHERS

FORMATS = Path(__file__).parent / "formats"
THINNER = 16
# "loss" of a run without a stop, from that version's metrics.jsonl
LOSSES = (
    *(1.8744473457336426, 1.7673165798187256, 1.6850135326385498),
    *(1.5100330114364624, 1.3690773248672485, 1.269782304763794),
)
# The tests' programs are compiled without optimisations: other roundings than those of the version that wrote this.
TOLERANCE = 1e-4


@pytest.fixture(autouse=True)
def thin_networks(monkeypatch):
    """A "resnet10" with a sixteenth of a ResNet's channels; the student takes its own from the teacher's stages."""
    conv, stage = resnet.Conv, resnet.stage
    monkeypatch.setattr(resnet, "Conv", lambda features, *args, **options: conv(features // THINNER, *args, **options))
    monkeypatch.setattr(
        resnet, "stage", lambda x, _, *, planes, **rest: stage(x, None, planes=planes // THINNER, **rest)
    )
    monkeypatch.setitem(ARCHITECTURES, "resnet10", Architecture(False, (1, 1, 1, 1), 1, 64))
    teacher = TEACHERS["resnet18"]._replace(
        module=ResNet("resnet10"),
        init=functools.partial(init_teacher, arch="resnet10"),
        channels=(4, 8, 16),
        student="resnet10",
        bundled=None,
    )
    monkeypatch.setitem(TEACHERS, "resnet10", teacher)
    known = (stage_shapes, distillation._live_parts)  # by the name of the architecture
    for function in known:
        function.cache_clear()
    yield
    for function in known:
        function.cache_clear()


@functools.cache
def zeros() -> np.ndarray:
    """Sixty digits "0", uint8 [60 32 32 3]."""
    digits = load_digits()
    images = (digits.images[digits.target == 0][:60] * 15).astype(np.uint8)
    return images.repeat(4, 1).repeat(4, 2)[..., None].repeat(3, -1)


def assert_as_said(prediction, file):
    said = np.load(FORMATS / file)
    np.testing.assert_allclose(prediction.score, said["score"], rtol=TOLERANCE)
    np.testing.assert_allclose(prediction.map[:, ::8, ::8], said["map"], rtol=TOLERANCE, atol=TOLERANCE)
    np.testing.assert_allclose(prediction.drift, said["drift"], rtol=TOLERANCE)


@pytest.mark.parametrize(("name", "said"), [("part.gnl", "said.npz"), ("bank.gnl", "said_bank.npz")])
def test_a_detector(name, said):
    detector = gnl_jax.load(FORMATS / name)
    assert_as_said(detector(zeros()[40:44]), said)
    rules = detector.record.rules
    assert (rules.ng, str(rules.review.rate), detector.record.matching) == (None, "1/20", "efdm")


def test_an_export():
    assert_as_said(runtime.load(FORMATS / "part.gnlx")(zeros()[40:44]), "said.npz")


def task() -> Task:
    labelled = LabelledImages(zeros()[40:], np.arange(20) % 2 == 1)
    return Task("digits", "any", zeros()[:12], {"id": lambda: labelled})


def test_a_run_folder_is_evaluated(tmp_path):
    run = shutil.copytree(FORMATS / "run", tmp_path / "run")
    detector, steps = restore_detector(run, task=task())
    assert steps == 3
    assert np.isfinite(detector(zeros()[40:44]).score).all()


@pytest.mark.slow
def test_a_run_folder_is_resumed(tmp_path):
    run = shutil.copytree(FORMATS / "run", tmp_path / "run")
    config = load_config(run)
    config.train.epochs = 2
    assert gnl_jax.train(config, run, task=task()).steps == 6
    losses = [json.loads(line)["loss"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    np.testing.assert_array_equal(losses[:3], LOSSES[:3])
    np.testing.assert_allclose(losses[3:], LOSSES[3:], rtol=1e-3)  # Adam amplifies what rounding there is


def test_they_are_small():
    assert sum(path.stat().st_size for path in FORMATS.rglob("*")) < 1_000_000
