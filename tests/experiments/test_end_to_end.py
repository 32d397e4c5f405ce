"""The commands of the README, as a newcomer runs them: train, evaluate, look."""

import json

import pytest
from PIL import Image
from programs import DIGITS, run

from gnl_jax.evaluation.results import read_results

pytestmark = pytest.mark.slow  # as slow as a newcomer's computer: programs that share nothing
SHIFTS = {"photo", "brightness", "contrast", "defocus_blur", "gaussian_noise"}


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """GNL on the digit 0 for 40 steps, the way `make demo` trains it."""
    folder = tmp_path_factory.mktemp("run") / "gnl"
    trained = run("train", f"{DIGITS}:0", f"--workdir={folder}", "--config.train.max_steps=40")
    assert trained.returncode == 0, trained.stderr
    assert "resnet18_imagenet_layers1-3.safetensors" in trained.stderr  # the weights in the package
    return folder


def test_a_short_training_tells_zeros_from_other_digits(workdir, tmp_path):
    evaluated = run("evaluate", f"--workdir={workdir}", f"--out={tmp_path}/out")
    assert evaluated.returncode == 0, evaluated.stderr
    rows = read_results(tmp_path / "out" / "results.json")
    assert [row["matching"]["kind"] for row in rows] == ["none", "efdm"]
    for row in rows:
        assert row["steps"] == 40
        assert set(row["auroc"]["ood"]) == SHIFTS
        assert row["auroc"]["id"] > 0.9
        assert all(n == 364 for n in row["n_test"].values())
        assert str(row["auroc"]["id"])[2:4] in evaluated.stdout
    for name in ("scores.png", "gallery.png"):
        with Image.open(tmp_path / "out" / name) as picture:
            assert min(picture.size) > 500


def test_evaluation_with_other_settings_needs_only_the_folder(workdir, tmp_path):
    evaluated = run(
        "evaluate", f"--workdir={workdir}", f"--out={tmp_path}", "--config.eval.matching=('mixstyle',)",
        "--config.eval.anchor=barycentre", "--config.eval.alpha=0.9", "--config.eval.batch_size=50",
    )  # fmt: skip
    assert evaluated.returncode == 0, evaluated.stderr
    (row,) = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert row["matching"] == {"kind": "mixstyle", "alpha": 0.9, "anchor": "barycentre", "k": 1}
