"""200 bad inputs through every command that takes images: named outcomes, no traceback, never a decision by mistake."""

import functools
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from bad_files import bad_files
from bright import detector
from PIL import Image

from gnl_jax.cli import export, recalibrate, score, shift, streams
from gnl_jax.cli.arguments import Opened
from gnl_jax.cli.main import main
from gnl_jax.detection.arrivals import Arrivals
from gnl_jax.detection.fit import inspection_config
from gnl_jax.detection.parts import good_images
from gnl_jax.text import printable

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def bright(monkeypatch, tmp_path):
    """Commands load a detector without a network."""
    opened = Opened(detector(), "0", tmp_path / "x.gnl")
    for command in (score, recalibrate, shift, export):
        monkeypatch.setattr(command, "open_detector", lambda path: opened)


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    """The bad files in a folder, and those that a listing has and that are no image."""
    folder = tmp_path_factory.mktemp("bad") / "bad"
    folder.mkdir()
    files = bad_files(folder)
    assert len(files) >= 200
    return SimpleNamespace(
        folder=folder, files=files, never=[f.path for f in files if f.listed and f.readable is False]
    )


def run(*argv):
    try:
        return main([str(arg) for arg in argv])
    except SystemExit as left:
        return left.code


def write_good(folder, n=12):
    folder.mkdir(parents=True)
    for i in range(n):
        Image.fromarray(np.full((20, 30, 3), 20 + i, np.uint8)).save(folder / f"good-{i:02}.png")
    return folder


def all_named(bad, text):
    """Whether a message names every file that can never be used."""
    return all(printable(path.name) in text or ascii(path.name)[1:-1] in text for path in bad.never)


def test_score_has_one_line_for_each(bad, tmp_path, capsys):
    paths = [file.path for file in bad.files if not os.path.isdir(file.path)]
    assert run("score", "x.gnl", *paths, "--format", "jsonl", "--out", tmp_path / "out.jsonl") == 3
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["file"] for row in rows] == [str(path) for path in paths]
    for row, file in zip(rows, (file for file in bad.files if not os.path.isdir(file.path))):
        failed = row["decision"] == "ERROR"
        assert file.readable is None or failed != file.readable, row
        assert bool(row["score"] is None) == failed
        assert row["reason"] or not failed
    err = capsys.readouterr().err
    assert f"{sum(row['decision'] == 'ERROR' for row in rows)} of {len(rows)} images cannot be used" in err
    assert "Traceback" not in err
    assert all(c.isprintable() or c == "\n" for c in err)


def test_score_of_a_folder_and_of_names(bad, tmp_path, capsys, monkeypatch):
    assert run("score", "x.gnl", bad.folder, "--format", "jsonl", "--out", tmp_path / "a.jsonl") == 3
    listed = [file.path for file in bad.files if file.listed]
    rows = {row["file"]: row["decision"] for row in map(json.loads, (tmp_path / "a.jsonl").read_text().splitlines())}
    assert set(rows) == {str(path) for path in listed}
    names = b"".join(os.fsencode(path) + b"\n" for path in listed if "\n" not in path.name)
    monkeypatch.setattr(streams.sys, "stdin", io.TextIOWrapper(io.BytesIO(names)))
    assert run("score", "x.gnl", "-", "--out", tmp_path / "b.jsonl") == 3
    again = {row["file"]: row["decision"] for row in map(json.loads, (tmp_path / "b.jsonl").read_text().splitlines())}
    assert again == {name: said for name, said in rows.items() if "\n" not in name}


def test_a_watched_folder_has_one_line_for_each(bad, tmp_path, monkeypatch):
    monkeypatch.setattr("gnl_jax.detection.arrivals.Arrivals", functools.partial(Arrivals, patience=0.05))
    out = tmp_path / "out.jsonl"
    assert run("score", "x.gnl", "--watch", bad.folder, "--out", out, "--settle", "0.01", "--stop-after", "0.1") == 3
    rows = [json.loads(line)["file"] for line in out.read_text().splitlines()]
    assert sorted(rows) == sorted(str(file.path) for file in bad.files if file.listed)


def test_fit_names_all_and_offers_the_remedy(bad, tmp_path, capsys, monkeypatch):
    good = write_good(tmp_path / "good")
    shutil.copytree(bad.folder, good / "monday", ignore=_entries, symlinks=True)
    arguments = ("fit", good, "--out", tmp_path / "x.gnl", "--teacher", "random", "--size", 32)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert run(*arguments) == 3
    err = capsys.readouterr().err
    assert all_named(bad, err)
    assert "images cannot be used" in err.replace(str(good), "images")
    assert "--skip-unreadable" in err
    assert "Traceback" not in err
    assert not (tmp_path / "x.gnl").exists()
    used = []
    record = SimpleNamespace(rules=SimpleNamespace(review=None))

    def fit(images, config, *, options, **_):
        used.append(options)
        return SimpleNamespace(require_record=lambda: record, variables={})

    monkeypatch.setattr("gnl_jax.detection.fit.fit", fit)
    monkeypatch.setattr("gnl_jax.detection.artifact.save", lambda *_: None)
    monkeypatch.setattr("gnl_jax.report.fit_page.write_fit_page", lambda *_, **__: "page")
    (tmp_path / "x.gnl.run").mkdir()
    assert run(*arguments, "--skip-unreadable") == 3
    assert {str(good / "monday" / path.name) for path in bad.never} <= set(used[0].exclude)
    assert all_named(bad, capsys.readouterr().err)
    left = good_images(good, inspection_config().dataset, exclude=used[0].exclude)
    assert {name for name in left.names if not name.startswith("monday/")} == {f"good-{i:02}.png" for i in range(12)}


def _entries(folder, names):
    """What `copytree` cannot copy."""
    return [name for name in names if not os.path.isfile(os.path.join(folder, name))]


def test_recalibrate_counts_no_unreadable_file(bad, tmp_path, capsys, monkeypatch):
    good, seen = write_good(tmp_path / "good"), []

    def fake(old, images, **_):
        seen.append(images)
        return SimpleNamespace(detector=old, may_be_blind=False)

    monkeypatch.setattr("gnl_jax.detection.recalibrate.recalibrate", fake)
    monkeypatch.setattr("gnl_jax.detection.artifact.save", lambda *_: None)
    arguments = (
        "recalibrate",
        "x.gnl",
        "--good",
        good,
        "--bad",
        bad.folder,
        "--condition",
        "x",
        "--out",
        tmp_path / "y",
        "--force",
    )
    assert run(*arguments) == 3
    assert all_named(bad, capsys.readouterr().err)
    assert seen == []
    assert run(*arguments, "--skip-unreadable") == 3
    out, err = capsys.readouterr()
    assert all_named(bad, err)
    usable = sum(file.listed for file in bad.files) - int(re.search(r"left out: (\d+) of", err).group(1))
    assert re.search(rf"defects caught +\d+/{usable} +\d+/{usable}\n", out)
    (good / "broken.png").write_bytes(b"x")
    assert run(*arguments[:4], *arguments[6:], "--skip-unreadable") == 3
    assert len(seen[-1].names) == 12
    assert run(*arguments[:4], *arguments[6:]) == 3
    assert "broken.png" in capsys.readouterr().err


def test_shift_counts_no_unreadable_file(bad, tmp_path, capsys):
    good = write_good(tmp_path / "good")
    arguments = ("shift", "x.gnl", "--good", good, "--bad", bad.folder, "--out", tmp_path / "r.html")
    arguments += ("--families", "jpeg", "--severities", "1")
    assert run(*arguments) == 3
    assert all_named(bad, capsys.readouterr().err)
    assert not (tmp_path / "r.html").exists()
    assert run(*arguments, "--skip-unreadable") == 3
    err = capsys.readouterr().err
    left_out = int(re.search(r"left out: (\d+) of", err).group(1))
    clean = json.loads((tmp_path / "r.json").read_text())["conditions"][0]
    assert clean["n"] == 12
    assert sum(row["n"] for row in clean["defects"]) == sum(file.listed for file in bad.files) - left_out


def test_export_compares_no_unreadable_file(bad, tmp_path, capsys, monkeypatch):
    seen = []
    monkeypatch.setattr("gnl_jax.deploy.export.export_detector", lambda *_, images, **__: seen.append(images))
    arguments = ("export", "x.gnl", "--images", bad.folder, "--out", tmp_path / "y.gnlx", "--limit", 1000)
    assert run(*arguments) == 3
    assert all_named(bad, capsys.readouterr().err)
    assert seen == []
    assert run(*arguments, "--skip-unreadable") == 3
    assert len(seen[0]) >= sum(file.listed and file.readable is True for file in bad.files)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("fit", "/no/such", "--out", "x.gnl"), "no such folder"),
        (("fit", "in/*.png", "--out", "x.gnl"), "no such folder"),
        (("score", "x.gnl", "/no/such/*.png"), "no images there"),
        (("shift", "x.gnl", "--good", "/no/such", "--out", "r.html"), "cannot list the folder '/no/such"),
        (("recalibrate", "x.gnl", "--good", "/no/such", "--condition", "x", "--out", "y"), "cannot list the folder"),
        (("export", "x.gnl", "--images", "/no/such/*.png", "--out", "y.gnlx"), "no images there"),
        (("export", "x.gnl", "--images", ".", "--out", "/proc/y.gnlx"), "nothing can be written to /proc"),
    ],
)
def test_what_is_not_there_is_one_sentence(command, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*command) in (1, 2)
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory"), "not enough memory: fitting takes less with --memory GB"),
        (MemoryError(), "not enough memory"),
    ],
)
def test_what_the_computer_cannot_do_is_one_sentence(error, message, monkeypatch, capsys):
    def fail(path):
        raise error

    monkeypatch.setattr(score, "open_detector", fail)
    assert run("score", "x.gnl", "a.png") == 1
    assert message in capsys.readouterr().err


def test_a_device_that_is_not_there_is_one_sentence(monkeypatch, capsys):
    def fail(path):
        raise AssertionError  # as JAX 0.10 does without the device's plugin

    monkeypatch.setattr(score, "open_detector", fail)
    monkeypatch.setattr("gnl_jax.cli.failures._has_device", lambda: False)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    assert run("score", "x.gnl", "a.png") == 1
    assert "JAX_PLATFORMS=cuda: " in capsys.readouterr().err


@pytest.mark.slow
def test_an_accelerator_that_is_not_there():
    """As JAX itself says it, in a process of its own."""
    program = "import sys; from gnl_jax.cli.main import main; sys.exit(main(sys.argv[1:]))"
    arguments = [sys.executable, "-c", program, "fit", "tests", "--out", "never.gnl", "--teacher", "random"]
    environment = {**os.environ, "JAX_PLATFORMS": "cuda"}
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 1
    assert "JAX_PLATFORMS=cuda: this computer or this installation of JAX has no such device" in done.stderr
    assert "Traceback" not in done.stderr
