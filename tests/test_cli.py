"""gnl-jax, as a user meets it: fit, score, shift, recalibrate, info, weights; exit statuses and hostile names."""

import csv
import json
import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from fitted import ARCH, digits, fitted, write_images
from PIL import Image

from gnl_jax.cli import arguments
from gnl_jax.cli import fit as cli_fit
from gnl_jax.cli import teacher as cli_teacher
from gnl_jax.cli.main import main, parser
from gnl_jax.detection.artifact import load, save
from gnl_jax.detection.container import read_container, write_container
from gnl_jax.methods.choices import PRECISIONS
from gnl_jax.nn.teachers import bank_teachers

pytestmark = [pytest.mark.usefixtures("small_network"), pytest.mark.xdist_group("fitted")]
HOSTILE = [
    '"><img src=x onerror=alert(1)>.png',
    "=cmd|x.png",
    "[b].png",
    "\x1b[2J.png",
    b"\xff.png".decode(errors="surrogateescape"),
]


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
    save(detector, root / "part.gnl")
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


def test_a_detector_that_is_opened_has_a_core_for_each_thread(line, monkeypatch):
    bound = []
    monkeypatch.setattr(arguments, "keep_threads_apart", lambda: bound.append(True))
    assert arguments.open_detector(str(line.detector)).path == line.detector
    assert bound == [True]


@pytest.mark.slow
def test_every_way_in_has_the_same_scores(line, tmp_path):
    """To the last bit, from a path, an array, a generator, threads and the command."""
    detector, paths = load(line.detector), sorted(line.good.iterdir())
    expected = [detector.inspect(path)[1:] for path in paths]
    arrays = [np.asarray(Image.open(path)) for path in paths]
    assert [detector.inspect(array)[1:] for array in arrays] == expected
    assert [result[1:] for result in detector.inspect(array for array in arrays)] == expected
    with ThreadPoolExecutor(4) as pool:
        assert [result[1:] for result in pool.map(detector.inspect, paths)] == expected
    assert run("score", line.detector, line.good, "--format", "jsonl", "--out", tmp_path / "x.jsonl") == 0
    rows = [json.loads(text) for text in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert [(row["decision"], row["score"], row["drift"]) for row in rows] == [(e[0], e[2], e[4]) for e in expected]


@pytest.mark.slow
def test_a_pickled_detector_is_the_same(line):
    one, image = load(line.detector), digits()[1][0]
    other = pickle.loads(pickle.dumps(one))
    assert other.inspect(image) == one.inspect(image)
    assert other.record.manifest == one.record.manifest


@pytest.mark.slow
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
    assert f"detector: gnl, {ARCH} at 32x32, matching efdm" in text
    assert "learned from 41 images, calibrated with 19" in text
    assert "NG: never" in text
    assert "REVIEW: false alarms 5 % on average" in text
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
        *("--reason", "new lamp", "--bad", line.dark, "--force"),
    )
    assert status == 0
    assert line.detector.read_bytes() == old
    text = capsys.readouterr().out
    assert "the old rates do not hold any more: " in text
    assert "REVIEW flags 10 % of good parts: 5 % takes 19 calibration images, got 16" in text
    assert re.search(r"good parts flagged +\d+/16 +\d+/16", text)
    assert re.search(r"defects caught +\d/5 +\d/5", text)
    assert re.search(r"VERDICT: (keep|replace|refit)", text)
    assert "drift is still measured against the old condition" in text
    assert "drift alone flags no part: that takes 49 calibration images, got 16" in text
    record = load(new).record
    assert record.manifest["parent"]["condition"] == "lamp at 40 %"
    assert len(record.calibration.score) == 16
    for kind in ("efdm", "none"):
        was = fitted()[0].record.matchings[kind]["drift"]["barycentre"]["1"]
        np.testing.assert_array_equal(record.matchings[kind]["drift"]["barycentre"]["1"], was)
    run("info", new)
    assert "recalibrated" in capsys.readouterr().out
    # Of the calibration parts, at most k are flagged, by construction.
    assert run("score", new, line.dark / "good", "--out", tmp_path / "x.csv") == 0
    decisions = [row["decision"] for row in csv.DictReader((tmp_path / "x.csv").read_text().splitlines())]
    assert decisions.count("REVIEW") <= 1


@pytest.mark.slow
def test_enough_parts_give_a_drift_reference_of_their_own(line, tmp_path, capsys):
    """Half of them; the other half calibrates drift, and the folder's alarm works again."""
    dark = (digits()[1] * 0.4).astype(np.uint8)
    write_images(tmp_path / "new", dark[:40])
    options = ("--condition", "dark", "--group-by", r"\d+", "--force")
    assert run("recalibrate", line.detector, "--good", tmp_path / "new", "--out", tmp_path / "dark.gnl", *options) == 0
    record = load(tmp_path / "dark.gnl").record
    assert (len(record.calibration.score), len(record.calibration.drift)) == (40, 20)
    assert record.rules.review.rate == fitted()[0].record.rules.review.rate
    data = record.manifest["data"]
    assert len(data["drift_reference"]) == 20
    assert set(data["drift_reference"]) < set(data["calibration"])
    assert data["group_by"] == r"\d+"
    was, now = (r.matchings["efdm"]["drift"]["barycentre"]["1"] for r in (fitted()[0].record, record))
    assert (np.asarray(was) != np.asarray(now)).any()
    capsys.readouterr()
    bright = 255 - (255 - digits()[1][:30]) // 3
    write_images(tmp_path / "bright", bright.astype(np.uint8))
    run("score", tmp_path / "dark.gnl", tmp_path / "bright", "--out", tmp_path / "x.csv")
    assert "DRIFT: 30 of 30 parts" in capsys.readouterr().err
    run("score", tmp_path / "dark.gnl", tmp_path / "bright", "--out", tmp_path / "x.csv", "--group-by", r"^0[01]?")
    assert "DRIFT: 3 of 3 parts" in capsys.readouterr().err
    # What served once does not serve again.
    again = ("recalibrate", tmp_path / "dark.gnl", "--good", tmp_path / "new", "--out", tmp_path / "y.gnl", *options)
    assert run(*again) == 1
    assert "were used for calibration" in capsys.readouterr().err


@pytest.mark.slow
def test_a_threshold_above_all_that_was_good_before_is_said(line, tmp_path, capsys):
    """Defective parts taken for good ones of a new condition."""
    write_images(tmp_path / "new", digits()[2][20:32])
    options = ("--out", tmp_path / "x.gnl", "--condition", "mistake")
    assert run("recalibrate", line.detector, "--good", tmp_path / "new", *options) == 1
    text = capsys.readouterr().out
    assert "may be blind" in text
    assert "VERDICT: refit" in text
    assert "is not written; --force writes it" in text
    assert not (tmp_path / "x.gnl").exists()
    options += ("--force",)
    assert run("recalibrate", line.detector, "--good", tmp_path / "new", *options) == 0
    capsys.readouterr()
    most = fitted()[0].record.calibration.score[-1]
    assert load(tmp_path / "x.gnl").record.thresholds[1] > most
    assert run("recalibrate", line.detector, "--good", line.dark / "good", *options) == 0
    said = "may be blind" in capsys.readouterr().out
    assert said == (load(tmp_path / "x.gnl").record.thresholds[1] > most)


@pytest.mark.slow
def test_recalibration_refuses_what_it_cannot_do(line, tmp_path, capsys):
    options = ("--out", tmp_path / "x.gnl", "--condition", "same")
    to_itself = ("--out", line.detector, "--condition", "x")
    assert run("recalibrate", line.detector, "--good", line.dark / "good", *to_itself) == 2
    assert run("recalibrate", line.detector, "--good", line.bad / "nine", *options) == 2
    assert "takes at least 9 calibration images" in capsys.readouterr().err
    asked = ("--review", "1%")
    assert run("recalibrate", line.detector, "--good", line.dark / "good", *options, *asked) == 2
    assert run("recalibrate", line.detector, "--good", line.bad / "none", *options) == 1


@pytest.mark.slow
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
        assert row["by_score"] / row["n"] <= row["alarms_bound"]
        assert row["by_score"] + row["by_drift"] == row["stopped"]
        assert (row["lost"] is not None) == (row["kind"] == "simulated")
        assert sum(row["histogram"]["good"]) == row["n"]
    assert {d["name"]: d["n"] for d in report["conditions"][0]["defects"]} == {"nine": 3, "six": 5}
    assert report["schema"] == 2
    assert {row["bad"] for row in report["conditions"]} == {4, 5, 8}
    text = page.read_text()
    assert text.count("data:image/jpeg") >= 6
    assert 'class="heat"' in text
    out = capsys.readouterr().out
    assert out.startswith(report["verdict"]["state"].upper())
    assert f"Next: {report['verdict']['action']}\n  {report['verdict']['command']}" in out
    assert "wrote" in out


def test_the_shift_report_counts_parts(line, tmp_path):
    """Images of one part, by their first digit but one: four good parts of ten images or fewer."""
    options = ("--good", line.good, "--group-by", r"^0?(\d)", "--families", "jpeg", "--severities", "1")
    assert run("shift", line.detector, *options, "--out", tmp_path / "r.html") == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert [row["n"] for row in report["conditions"]] == [2, 2]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (("--families", "fog"), 2, "expected some of brightness"),
        (("--severities", "6"), 2, "--severities: got '6'"),
        (("--out", "/no/such/folder/r.html"), 2, "no folder /no/such/folder"),
        (("--out", "r.json"), 2, "a name that ends with .html"),
        (("--shifted", "clean=."), 2, "none of them clean"),
        (("--shifted", "x=/no/such/folder"), 2, "x: no folder"),
    ],
)
def test_the_shift_report_refuses_what_it_cannot_do(line, capsys, arguments, status, message):
    assert run("shift", line.detector, "--good", line.good, *arguments) == status
    assert message in capsys.readouterr().err


def test_a_changed_condition_has_good_parts(line, tmp_path, capsys):
    options = ("--families", "jpeg", "--severities", "1", "--out", tmp_path / "r.html")
    assert run("shift", line.detector, "--good", line.good, "--shifted", f"lamp={line.bad}", *options) == 1
    assert "expected test/, or good/" in capsys.readouterr().err
    for name in ("train/good/1.png", "test/broken/1.png"):
        (tmp_path / "set" / name).parent.mkdir(parents=True)
        Image.fromarray(digits()[0][0]).save(tmp_path / "set" / name)
    assert run("shift", line.detector, "--good", tmp_path / "set", *options) == 1
    assert "holds test/broken, expected good images alone; give" in capsys.readouterr().err


def test_the_shift_report_refuses_images_that_it_was_fitted_to(line, tmp_path, capsys):
    (tmp_path / "seen").mkdir()
    for i, image in enumerate(digits()[0][:12]):  # at the detector's own size, so that the pixels stay as they are
        Image.fromarray(image).save(tmp_path / "seen" / f"{i}.png")
    assert run("shift", line.detector, "--good", tmp_path / "seen", "--families", "jpeg") == 1
    assert "were used for" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "arch"), [("float32", "resnet10"), ("tf32", "resnet18")])
def test_fitting_from_a_folder(tmp_path, capsys, monkeypatch, precision, arch):
    monkeypatch.setattr(cli_teacher, "ARCHITECTURES", ("resnet10", "resnet18"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_images(tmp_path / "good", digits()[0])
    options = ("--size", 32, "--epochs", 1, "--exclude", "005.png", "--group-by", r"\d+", "--time-budget", 600)
    options += ("--precision", precision, "--arch", arch, "--method", "gnl")
    assert run("fit", tmp_path / "good", "--out", tmp_path / "part.gnl", "--teacher", "random", *options) == 0
    out, err = capsys.readouterr()
    assert "THE TEACHER IS RANDOM" in out
    assert "59 good images: 40 to learn from, 19 to calibrate" in out
    assert "part.gnl.fit.html" in err
    page = (tmp_path / "part.gnl.fit.html").read_text()
    assert page.count('<div class="pair">') == 10
    assert not (tmp_path / "part.gnl.run").exists()
    manifest = read_container(tmp_path / "part.gnl").manifest
    assert manifest["data"]["excluded"] == ["005.png"]
    assert manifest["config"]["precision"] == precision


def test_no_teacher_stops_fitting_at_once_with_what_to_do(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("GNL_JAX_TEACHER", raising=False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("gnl_jax.nn.pretrained.is_cached", lambda arch: False)
    (tmp_path / "good").mkdir()
    assert run("fit", tmp_path / "good", "--out", tmp_path / "x.gnl", "--arch", "wide_resnet50_2") == 2
    err = capsys.readouterr().err
    assert "gnl-jax weights fetch wide_resnet50_2" in err
    assert "--teacher FILE" in err


def test_choices_are_those_of_the_configuration():
    """The command line names them itself, so that --help need not wait for JAX."""
    assert set(cli_teacher.ARCHITECTURES) == set(bank_teachers()) - {"resnet10"}  # that of the tests
    assert set(cli_fit.PRECISIONS) == set(PRECISIONS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--ng", "0.0001"), "expected at least 10008: 9999 to calibrate"),
        (("--ng", "abc"), "expected a decimal"),
        (("--ng", "2%", "--review", "1%"), "expected at most the rate of review"),
        (("--confidence", "95"), "such as 0.95"),
        (("--roi", "1,2,3"), "expected x,y,w,h"),
        (("--roi", "1,2,3,4", "--mask", "x.png"), "one of the two"),
        (("--out", "/no/such/folder/x.gnl"), "no folder /no/such/folder"),
        (("--size", "100"), "multiple of 32"),
        (("--arch", "resnet34"), "invalid choice"),
        (("--precision", "half"), "invalid choice"),
        (("--method", "kdad"), "invalid choice"),
        (("--student", "x.pth", "--method", "gnl", "--epochs", "3"), "nothing is trained"),
        (("--student", "x.pth"), "matched_bank has none"),
        (("--epochs", "3"), "nothing is trained"),
    ],
)
def test_what_cannot_work_is_said_before_training(tmp_path, capsys, arguments, message):
    write_images(tmp_path / "good", digits()[0][:20])
    given = {"--out": tmp_path / "x.gnl", "--teacher": "random", "--size": 32}
    given |= dict(zip(arguments[::2], arguments[1::2]))
    assert run("fit", tmp_path / "good", *(word for pair in given.items() for word in pair)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x.gnl").exists()


def test_weights_of_a_file_are_verified(tmp_path, capsys):
    (tmp_path / "w.safetensors").write_bytes(b"nothing")
    assert run("weights", "verify", tmp_path / "w.safetensors") == 1
    assert "damaged or cut" in capsys.readouterr().err
    assert run("weights", "fetch", "vgg99") == 1


def test_every_command_has_help():
    for command in ("fit", "fit-all", "compare", "score", "shift", "recalibrate", "export", "info", "weights"):
        with pytest.raises(SystemExit) as left:
            parser().parse_args([command, "--help"])
        assert left.value.code == 0
