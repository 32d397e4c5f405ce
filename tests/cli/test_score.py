"""gnl-jax score on files: rates of the user's own, and a page of the batch."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from bright import detector
from PIL import Image

from gnl_jax.cli import score
from gnl_jax.cli.arguments import Opened
from gnl_jax.cli.main import main


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs `gnl-jax score` with a detector, by default the bright one."""

    def run(*argv, with_=None):
        opened = Opened(with_ or detector(batch_size=1, drift=None), "0", tmp_path / "x.gnl")
        monkeypatch.setattr(score, "open_detector", lambda path: opened)
        try:
            return main(["score", "x.gnl", *map(str, argv)])
        except SystemExit as left:
            return left.code

    return run


def folder_of(path, *values):
    path.mkdir()
    for i, value in enumerate(values):
        Image.fromarray(np.full((20, 30, 3), value, np.uint8)).save(path / f"{i}.png")
    return path


def decisions(text):
    return [row["decision"] for row in csv.DictReader(text.splitlines())]


def test_rates_are_chosen_when_scoring(command, tmp_path, capsys):
    folder = folder_of(tmp_path / "in", 60, 123, 126)  # calibrated from 0 to 0.5 of white: 127.5
    assert command(folder) == 0
    out, err = capsys.readouterr()
    assert decisions(out) == ["OK", "REVIEW", "REVIEW"]
    assert "calibration parts" not in err
    assert command(folder, "--ng", "3%", "--review", "3%") == 0
    out, err = capsys.readouterr()
    assert decisions(out) == ["OK", "OK", "NG"]
    assert "99 calibration parts: NG above 0.4898 (false alarms 3 % on average" in err


def test_rates_that_the_calibration_cannot_support_are_refused(command, tmp_path, capsys):
    folder = folder_of(tmp_path / "in", 60)
    assert command(folder, "--ng", "0.5%", "--review", "3%") == 2
    assert "0.5 % takes at least 199 calibration images" in capsys.readouterr().err
    one = detector()
    none = {"ng": None, "review": None, "drift": None}
    few = replace(one, record=replace(one.record, manifest={**one.record.manifest, "rules": none}))
    assert command(folder, "--review", "3%", with_=few) == 2
    assert "--review: the detector was made from too few images to state a rate" in capsys.readouterr().err


def test_a_page_of_the_batch(command, tmp_path, capsys):
    folder = folder_of(tmp_path / "in", 60, 123, 255)
    (folder / "broken.png").write_bytes(b"\x89PNG")
    assert command(folder, "--html", tmp_path / "page.html", "--overlays", tmp_path / "maps") == 3
    err = capsys.readouterr().err
    assert "page.html: 4 images, 3 with a small picture, 3 at their own size (limit 64 MB, --html-limit)" in err
    assert len(list((tmp_path / "maps").iterdir())) == 3
    page = (tmp_path / "page.html").read_text()
    assert "2 of 3 parts flagged (2 by score, 0 by drift alone)." in page
    assert command(folder, "--html", tmp_path / "small.html", "--html-limit", "0.0001") == 3
    assert "0 with a small picture, 0 at their own size" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("-", "--html", "x.html"), "--html: expected images, folders or patterns"),
        (("in", "--html", "x.htm"), "--html: expected a name that ends with .html"),
        (("in", "--html", "x.html", "--html-limit", "0"), "a limit of more than 0 MB"),
        (("in", "--html", "/no/such/x.html"), "--html: no folder /no/such"),
    ],
)
def test_a_page_that_cannot_be_is_refused_before_anything_is_scored(command, capsys, words, message):
    assert command(*words) == 2
    assert message in capsys.readouterr().err
