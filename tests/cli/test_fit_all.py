"""One detector for each product, resumed where it was, and a table with what failed first."""

import json
from types import SimpleNamespace

import pytest

from gnl_jax.cli import fit
from gnl_jax.cli.main import main

MANIFEST = {
    "rules": {"ng": None, "review": {"rate": "1/20", "k": 1, "n": 19, "confidence": None}},
    "data": {"fit": ["a"] * 41, "calibration": ["b"] * 19},
}


@pytest.fixture
def fitting(monkeypatch):
    """What `gnl-jax fit` is asked for, in its place."""
    asked, outcome = [], {}

    def fake(args):
        asked.append(args)
        name = args.out.rpartition("/")[2]
        if isinstance(outcome.get(name, 0), BaseException):
            raise outcome[name]
        with open(args.out, "w") as file:
            file.write("detector")
        return outcome.get(name, 0)

    monkeypatch.setattr(fit, "run", fake)
    monkeypatch.setattr("gnl_jax.detection.container.read_container", lambda path: SimpleNamespace(manifest=MANIFEST))
    return SimpleNamespace(asked=asked, outcome=outcome)


@pytest.fixture
def root(tmp_path):
    for folder in ("bolt/train/good", "nut/good", "washer/line 1", ".hidden/good"):
        (tmp_path / "in" / folder).mkdir(parents=True)
    return tmp_path / "in"


def run(*argv):
    try:
        return main(["fit-all", *map(str, argv)])
    except SystemExit as left:
        return left.code


def test_each_product_has_its_detector_and_its_row(fitting, root, tmp_path, capsys):
    assert run(root, "--out", tmp_path / "out", "--size", 64, "--teacher", "random") == 0
    assert [args.good for args in fitting.asked] == [
        str(root / "bolt" / "train" / "good"),
        str(root / "nut" / "good"),
        str(root / "washer"),
    ]
    assert {(args.size, args.teacher) for args in fitting.asked} == {(64, "random")}
    rows = json.loads((tmp_path / "out" / "summary.json").read_text())["products"]
    assert [row["product"] for row in rows] == ["bolt", "nut", "washer"]
    assert {(row["state"], row["learns"], row["calibrates"], row["ng"]) for row in rows} == {("done", 41, 19, "never")}
    out = capsys.readouterr().out
    assert "nut.gnl.fit.html" in out
    assert "5 %" in out


def test_it_resumes_and_tries_again_what_failed(fitting, root, tmp_path, capsys):
    fitting.outcome["nut.gnl"] = ValueError("got good images of 3 parts, expected at least 18")
    fitting.outcome["washer.gnl"] = 3
    assert run(root, "--out", tmp_path / "out") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("nut ")
    assert "expected at least 18" in lines[1]
    assert lines[2].startswith("washer ")
    fitting.asked.clear()
    fitting.outcome.clear()
    assert run(root, "--out", tmp_path / "out") == 3  # some of washer's images could not be used
    assert [args.good for args in fitting.asked] == [str(root / "nut" / "good")]
    (tmp_path / "out" / "bolt.gnl").unlink()
    fitting.asked.clear()
    assert run(root, "--out", tmp_path / "out") == 3
    assert len(fitting.asked) == 1


def test_a_product_that_takes_too_much_memory_does_not_end_the_others(fitting, root, tmp_path, capsys):
    fitting.outcome["bolt.gnl"] = RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 64 bytes")
    assert run(root, "--out", tmp_path / "out") == 1
    out, err = capsys.readouterr()
    assert len(fitting.asked) == 3
    assert "error: not enough memory: fitting takes less with --memory GB" in err
    assert "Traceback" not in out + err


def test_an_interruption_keeps_the_rows(fitting, root, tmp_path):
    fitting.outcome["nut.gnl"] = KeyboardInterrupt()
    assert run(root, "--out", tmp_path / "out") == 130
    rows = json.loads((tmp_path / "out" / "summary.json").read_text())["products"]
    assert [row["product"] for row in rows] == ["bolt"]


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("gone", "no such folder"),
        ("in/bolt", "the folder of one product"),
        ("in/nut", "the folder of one product"),
        ("in/washer/line 1", "no subfolders"),
    ],
)
def test_what_is_no_folder_of_products(fitting, root, tmp_path, capsys, folder, message):
    assert run(tmp_path / folder, "--out", tmp_path / "out") == 2
    assert message in capsys.readouterr().err
    assert run(root, "--out", "/proc/x") == 2
