"""--marks of add, shift and recalibrate: what a person marked on the page of a batch, all of it for a rate."""

import functools
import json
from types import SimpleNamespace

import pytest
import tiny_bank
from fitted import write_images
from marked_batch import write_marks
from programs import status

from gnl_jax.detection import artifact
from gnl_jax.detection.artifact import load, save

GOOD, BAD = 12, 3
SHIFT = ("--families", "jpeg", "--severities", "1")


@pytest.fixture
def line(tmp_path, monkeypatch):
    """A memory bank's file, its good images, and a batch of 12 good and 3 bad parts with its results."""
    monkeypatch.setattr(artifact, "load", functools.partial(load, method=tiny_bank.make_method()))
    write_images(tmp_path / "good", tiny_bank.images(40))
    detector, _ = tiny_bank.fit_bank(str(tmp_path / "good"), tiny_bank.make_method())
    save(detector, tmp_path / "old.gnl")
    paths = write_images(tmp_path / "batch", tiny_bank.images(GOOD, seed=7), prefix="good ")
    paths += write_images(tmp_path / "batch", 255 - tiny_bank.images(BAD, seed=8), prefix="bad ")
    results = list(detector.inspect(map(str, paths)))

    def marks(*given):
        return str(write_marks(tmp_path / "m.csv", results, [*given, *[""] * (GOOD + BAD - len(given))]))

    return SimpleNamespace(
        old=str(tmp_path / "old.gnl"),
        new=str(tmp_path / "new.gnl"),
        good=str(tmp_path / "good"),
        marks=marks,
        whole=["good"] * GOOD + ["bad"] * BAD,
        report=tmp_path / "r.html",
    )


@pytest.mark.slow
def test_a_batch_marked_to_the_last_image_recalibrates(line, capsys):
    command = ["recalibrate", line.old, "--marks", line.marks(*line.whole), "--condition", "x", "--out", line.new]
    assert status([*command, "--force"]) == 0
    said = capsys.readouterr().out
    assert "m.csv: 12 good, 3 bad, 0 unsure, 0 not marked" in said
    assert f"/{GOOD}" in said
    assert f"/{BAD}" in said
    assert len(artifact.load(line.new).record.manifest["data"]["calibration"]) == GOOD


def test_a_batch_marked_to_the_last_image_is_reported(line):
    command = ["shift", line.old, "--marks", line.marks(*line.whole), "--out", str(line.report), *SHIFT]
    assert status(command) == 0
    report = json.loads(line.report.with_suffix(".json").read_text())
    clean = report["conditions"][0]
    assert (clean["n"], clean["bad"]) == (GOOD, BAD)
    assert report["provenance"]["good"] == f"{GOOD} marked images"
    assert report["provenance"]["bad"] == f"{BAD} marked images"
    assert clean["defects"][0]["name"] == "defect"


@pytest.mark.parametrize("given", [("good", "good", "bad"), ("good",) * (GOOD + BAD - 1) + ("unsure",)])
def test_marks_of_some_images_alone_say_nothing_of_a_rate(line, capsys, given):
    some = line.marks(*given)
    for command in (
        ["recalibrate", line.old, "--marks", some, "--condition", "x", "--out", line.new],
        ["shift", line.old, "--marks", some, "--out", str(line.report), *SHIFT],
        ["add", line.old, "--marks", some, "--out", line.new],
    ):
        assert status(command) == 2
        assert "flagged images alone bias the" in capsys.readouterr().err


@pytest.mark.slow
def test_marks_of_some_images_are_learned_from(line, capsys):
    some = line.marks("good", "bad", "good")
    command = ["add", line.old, "--marks", some, "--calibration-images", line.good, "--out", line.new]
    assert status(command) == 0
    assert "2 images are added to" in capsys.readouterr().out
    assert status([*command[:3], line.marks("bad"), *command[4:]]) == 2
    assert "no image marked good" in capsys.readouterr().err


@pytest.mark.slow
def test_one_of_folder_and_marks(line, capsys):
    marks = line.marks(*line.whole)
    for words in ([], ["--marks", marks, "--good", line.good], ["--marks", marks, "--bad", line.good]):
        assert status(["recalibrate", line.old, *words, "--condition", "x", "--out", line.new]) == 2
    assert "--bad: got it beside --marks" in capsys.readouterr().err
