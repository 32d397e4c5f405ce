"""gnl-jax, as a user meets it: fit, score, shift, recalibrate, info, weights; exit statuses and hostile names."""

import csv
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from fitted import compiled_quickly, config, digits, fitted, write_images  # noqa: F401

from gnl_jax import console
from gnl_jax.cli.main import main, parser
from gnl_jax.detection.artifact import load
from gnl_jax.detection.container import read_container, write_container

HOSTILE = [
    '"><img src=x onerror=alert(1)>.png',
    "=cmd|x.png",
    "[b].png",
    "\x1b[2J.png",
    b"\xff.png".decode(errors="surrogateescape"),
]


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """The process's log and cache stay as they are."""
    monkeypatch.setattr(console, "show_log", lambda: None)
    monkeypatch.setattr(console, "keep_compiled_programs", lambda: None)


def run(*argv):
    """The exit status of a command."""
    try:
        return main([str(arg) for arg in argv])
    except SystemExit as left:
        return left.code


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """A detector's file, and folders of good, defective and shifted parts."""
    root = tmp_path_factory.mktemp("line")
    detector, _ = fitted()
    detector.save(root / "part.gnl")
    _, good, bad = digits()
    write_images(root / "good", good[:16])
    write_images(root / "bad" / "six", bad[:5])
    write_images(root / "bad" / "nine", bad[5:8])
    dark = (good[:16] * 0.4).astype(np.uint8)
    write_images(root / "dark" / "good", dark)
    write_images(root / "dark" / "six", (bad[:5] * 0.4).astype(np.uint8))
    return SimpleNamespace(
        root=root, detector=root / "part.gnl", good=root / "good", bad=root / "bad", dark=root / "dark"
    )


def test_every_input_has_a_row_in_order(line, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    pattern = str(line.bad / "six" / "*.png")
    status = run("score", line.detector, line.good, tmp_path / "broken.png", pattern, tmp_path / "gone.png")
    out, err = capsys.readouterr()
    rows = list(csv.DictReader(out.splitlines()))
    names = [row["file"] for row in rows]
    assert len(rows) == 16 + 1 + 5 + 1
    assert names[:16] == sorted(str(path) for path in line.good.iterdir())
    assert names[16].endswith("broken.png")
    assert names[-1].endswith("gone.png")
    assert [row["decision"] for row in rows if row["file"].endswith(("broken.png", "gone.png"))] == ["ERROR"] * 2
    assert {row["decision"] for row in rows[17:22]} == {"REVIEW"}
    assert all(json.loads(row["boxes"]) for row in rows[17:22])
    assert re.search(r"23 images: 2 ERROR, \d+ OK, \d+ REVIEW", err)
    assert status == 3


def test_exit_statuses(line, tmp_path, capsys):
    assert run("score", line.detector, line.good, "--out", tmp_path / "a.csv") == 0
    assert run("score", line.detector, line.bad, "--fail-on", "review", "--out", tmp_path / "b.csv") == 10
    assert run("score", line.detector, line.bad, "--fail-on", "ng", "--out", tmp_path / "c.csv") == 0  # no NG at 19
    (tmp_path / "empty").mkdir()
    assert run("score", line.detector, tmp_path / "empty") == 2
    assert run("score", line.detector, line.good, "--format", "xml") == 2
    (tmp_path / "bad.gnl").write_bytes(line.detector.read_bytes()[:-1])
    assert run("score", tmp_path / "bad.gnl", line.good) == 4
    assert "bad.gnl: damaged or cut off" in capsys.readouterr().err
    assert run("score", tmp_path / "no.gnl", line.good) == 4
    assert run("info", line.detector, "--verify") == 0


def test_json_lines_and_overlays_keep_subfolders(line, tmp_path):
    assert (
        run(
            "score",
            line.detector,
            line.bad,
            "--format",
            "jsonl",
            "--out",
            tmp_path / "x.jsonl",
            "--overlays",
            tmp_path / "o",
        )
        == 0
    )
    rows = [json.loads(text) for text in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert len(rows) == 8
    overlays = sorted(str(path.relative_to(tmp_path / "o")) for path in (tmp_path / "o").rglob("*.png"))
    assert overlays == [*(f"nine/00{i}.png.png" for i in range(3)), *(f"six/00{i}.png.png" for i in range(5))]


def test_hostile_names_are_harmless(line, tmp_path, capsys):
    folder, data = tmp_path / "in", (line.good / "000.png").read_bytes()
    folder.mkdir()
    for name in HOSTILE:
        (folder / name).write_bytes(data)
    assert run("score", line.detector, folder, "--overlays", tmp_path / "o") == 0
    out, err = capsys.readouterr()
    assert len(list(csv.DictReader(out.splitlines()))) == len(HOSTILE)
    assert all(c.isprintable() or c == "\n" for c in out + err)
    assert len(list((tmp_path / "o").iterdir())) == len(HOSTILE)


def test_info_says_what_it_is(line, capsys):
    assert run("info", line.detector) == 0
    text = capsys.readouterr().out
    assert "detector: gnl, resnet18 at 32x32, matching efdm" in text
    assert "learned from 41 images, calibrated with 19" in text
    assert "NG: never" in text
    assert "REVIEW: good parts stopped 5 % on average" in text
    assert run("info", line.detector, "--json") == 0
    assert json.loads(capsys.readouterr().out) == read_container(line.detector).manifest


def test_info_verify_refuses_another_result(line, tmp_path, capsys):
    container = read_container(line.detector)
    container.manifest["probe"]["drift"] *= 1.01
    write_container(tmp_path / "x.gnl", container)
    assert run("info", tmp_path / "x.gnl", "--verify") == 4
    assert "the probe image has drift" in capsys.readouterr().err


def test_recalibration_makes_a_new_file_that_names_the_old_one(line, tmp_path, capsys):
    new = tmp_path / "dark.gnl"
    old = line.detector.read_bytes()
    status = run(
        *("recalibrate", line.detector, "--good", line.dark / "good", "--out", new, "--condition", "lamp at 40 %"),
        *("--reason", "new lamp", "--bad", line.dark / "six"),
    )
    assert status == 0
    assert line.detector.read_bytes() == old
    text = capsys.readouterr().out
    assert "REVIEW stops 10 % of good parts: 5 % takes 19 calibration images, got 16" in text
    assert re.search(r"5 defective parts: \d were stopped before \(0 NG\), \d are now \(0 NG\)", text)
    assert "drift is still measured against the old condition" in text
    record = load(new).record
    assert record.manifest["parent"]["condition"] == "lamp at 40 %"
    assert len(record.calibration.score) == 16
    run("info", new)
    assert "recalibrated" in capsys.readouterr().out
    # The good parts of the new condition are stopped as promised: by construction at most k of those that calibrate.
    assert run("score", new, line.dark / "good", "--out", tmp_path / "x.csv") == 0
    decisions = [row["decision"] for row in csv.DictReader((tmp_path / "x.csv").read_text().splitlines())]
    assert decisions.count("REVIEW") <= 1


def test_recalibration_refuses_what_it_was_made_from(line, tmp_path, capsys):
    write_images(tmp_path / "good", digits()[0][:20])
    options = ("--out", tmp_path / "x.gnl", "--condition", "same")
    source = fitted()[0].record
    assert (
        run("recalibrate", line.detector, "--good", line.dark / "good", "--out", line.detector, "--condition", "x") == 2
    )
    assert run("recalibrate", line.detector, "--good", line.bad / "nine", *options) == 2
    assert "takes at least 9 calibration images" in capsys.readouterr().err
    assert len(source.manifest["data"]["fit"]) == 41


def test_the_shift_report_counts_and_shows(line, tmp_path, capsys):
    page = tmp_path / "report.html"
    status = run(
        *("shift", line.detector, "--good", line.good, "--bad", line.bad, "--shifted", f"dark={line.dark}"),
        *("--families", "gain_up,rotation", "--severities", "1,5", "--limit", "6", "--limit-bad", "4", "--out", page),
        *("--baseline", line.detector),
    )
    assert status == 0
    report = json.loads(page.with_suffix(".json").read_text())
    names = [row["name"] for row in report["conditions"]]
    assert names == ["clean", "dark", "gain_up 1", "gain_up 5", "rotation 1", "rotation 5"]
    assert [row["n"] for row in report["conditions"]] == [16, 16, 6, 6, 6, 6]
    for row in report["conditions"]:
        assert row["matchings"]["efdm"] == row["baseline"] == {"stopped": row["stopped"], "rejected": row["rejected"]}
        assert row["stopped_interval"][0] <= row["stopped"] / row["n"] <= row["stopped_interval"][1]
        assert sum(row["histogram"]["good"]) == row["n"]
    assert {d["name"]: d["n"] for d in report["conditions"][0]["defects"]} == {"nine": 3, "six": 5}
    assert [row["guarantee"] for row in report["conditions"]] == [True] + [False] * 5
    text = page.read_text()
    assert text.count("data:image/jpeg") >= 6
    assert "no guarantee under shift" in text.lower()
    assert "wrote" in capsys.readouterr().out


def test_the_shift_report_refuses_images_that_it_was_fitted_to(line, tmp_path, capsys):
    from PIL import Image

    (tmp_path / "seen").mkdir()
    for i, image in enumerate(digits()[0][:12]):  # at the detector's own size, so that the pixels stay as they are
        Image.fromarray(image).save(tmp_path / "seen" / f"{i}.png")
    assert run("shift", line.detector, "--good", tmp_path / "seen", "--families", "jpeg") == 1
    assert "were used for" in capsys.readouterr().err


def test_fitting_from_a_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_images(tmp_path / "good", digits()[0])
    options = ("--size", 32, "--epochs", 1, "--exclude", "005.png", "--group-by", r"\d+")
    assert run("fit", tmp_path / "good", "--out", tmp_path / "part.gnl", "--teacher", "random", *options) == 0
    out, err = capsys.readouterr()
    assert "THE TEACHER IS RANDOM" in out
    assert "59 good images: 40 to learn from, 19 to calibrate" in out
    assert "part.gnl.unusual.html" in err
    page = (tmp_path / "part.gnl.unusual.html").read_text()
    assert page.count("<figure>") == 10
    assert not (tmp_path / "part.gnl.run").exists()
    assert read_container(tmp_path / "part.gnl").manifest["data"]["excluded"] == ["005.png"]


def test_no_teacher_stops_fitting_at_once_with_what_to_do(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("GNL_JAX_TEACHER", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("gnl_jax.nn.pretrained.is_cached", lambda arch: False)
    (tmp_path / "good").mkdir()
    assert run("fit", tmp_path / "good", "--out", tmp_path / "x.gnl") == 2
    err = capsys.readouterr().err
    assert "gnl-jax weights fetch resnet18" in err
    assert "--teacher random" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--ng", "0.0001"),
        ("--roi", "1,2,3", "--mask", "x.png"),
        ("--out", "/no/such/folder/x.gnl"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_read(tmp_path, capsys, arguments):
    write_images(tmp_path / "good", digits()[0][:20])
    out = () if "--out" in arguments else ("--out", tmp_path / "x.gnl")
    status = run("fit", tmp_path / "good", *out, "--teacher", "random", "--size", 32, *arguments)
    assert status in (1, 2)
    assert capsys.readouterr().err.startswith("error: ")
    assert not (tmp_path / "x.gnl").exists()


def test_weights_of_a_file_are_verified(tmp_path, capsys):
    (tmp_path / "w.safetensors").write_bytes(b"nothing")
    assert run("weights", "verify", tmp_path / "w.safetensors") == 1
    assert "damaged or cut" in capsys.readouterr().err
    assert run("weights", "fetch", "vgg99") == 1


def test_every_command_has_help():
    for command in ("fit", "score", "shift", "recalibrate", "export", "info", "weights"):
        with pytest.raises(SystemExit) as left:
            parser().parse_args([command, "--help"])
        assert left.value.code == 0
