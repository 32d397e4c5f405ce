"""Images that come one after another: whole files only, exactly one line each, whatever is killed in between."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from bright import detector
from PIL import Image

from gnl_jax.cli import score, streams
from gnl_jax.cli.arguments import Opened
from gnl_jax.cli.main import main
from gnl_jax.cli.streams import read_names, score_names, watch
from gnl_jax.detection.arrivals import Arrivals
from gnl_jax.detection.inspection import Inspected
from gnl_jax.detection.journal import Journal

ROOT = Path(__file__).parents[2]


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def command(monkeypatch, tmp_path):
    """Runs `gnl-jax score` with the bright detector."""
    opened = Opened(detector(batch_size=1), "0", tmp_path / "x.gnl")
    monkeypatch.setattr(score, "open_detector", lambda path: opened)

    def run(*argv):
        try:
            return main(["score", "x.gnl", *map(str, argv)])
        except SystemExit as left:
            return left.code

    return run


def picture(path, value=20):
    Image.fromarray(np.full((20, 30, 3), value, np.uint8)).save(path)
    return path


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_file_is_offered_once_it_stopped_changing(tmp_path):
    clock, done = Clock(), set()
    arrivals = Arrivals(tmp_path, done=done, settle=1, patience=30, clock=clock)
    assert arrivals.poll() == []
    path = picture(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("no image")
    (tmp_path / ".b.png").write_text("hidden")
    assert arrivals.poll() == []
    clock.now = 0.9
    with open(path, "ab") as file:
        file.write(b"more")
    assert arrivals.poll() == []
    clock.now = 1.5
    assert arrivals.poll() == []
    clock.now = 2.0
    assert arrivals.poll() == [str(path)]
    done.add(str(path))
    assert arrivals.poll() == []
    assert arrivals.waiting == 0


def test_a_file_that_cannot_be_read_may_still_be_on_its_way(tmp_path):
    clock = Clock()
    arrivals = Arrivals(tmp_path, done=set(), settle=1, patience=30, clock=clock)
    path = tmp_path / "a.png"
    path.write_bytes(b"half")
    arrivals.poll()
    clock.now = 1
    assert arrivals.poll() == [str(path)]
    assert arrivals.wait_for(str(path))
    clock.now = 20
    assert arrivals.poll() == []
    path.write_bytes(b"three quarters")
    arrivals.poll()
    clock.now = 21
    assert arrivals.poll() == [str(path)]
    assert arrivals.wait_for(str(path))
    clock.now = 50
    assert arrivals.poll() == [str(path)]
    assert not arrivals.wait_for(str(path))
    path.unlink()
    assert arrivals.wait_for(str(path))


def test_a_journal_is_continued_wherever_it_was_cut(tmp_path):
    path, results = tmp_path / "out.jsonl", [Inspected(f"{i}.png", "OK", "", float(i)) for i in range(4)]
    with Journal(path) as journal:
        for result in results:
            journal.write(result)
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        with Journal(path) as journal:
            assert len(journal.done) == whole[:cut].count(b"\n")
            for result in results:
                if result.path not in journal.done:
                    journal.write(result)
        assert path.read_bytes() == whole


def test_a_journal_has_one_writer_and_nothing_else_in_it(tmp_path):
    with Journal(tmp_path / "x.jsonl"), pytest.raises(ValueError, match="another process writes there"):
        Journal(tmp_path / "x.jsonl")
    with Journal(tmp_path / "x.jsonl"):
        pass
    for text in ("file,decision\n", "3\n", "{}\n"):
        (tmp_path / "y.csv").write_text(text)
        with pytest.raises(ValueError, match=r"y\.csv: line 1 is no result"):
            Journal(tmp_path / "y.csv")
        assert (tmp_path / "y.csv").read_text() == text


def test_names_are_scored_as_they_come():
    there, write = os.pipe()
    with os.fdopen(there, "rb") as stream, os.fdopen(write, "wb", buffering=0) as source:
        lists = read_names(stream)
        source.write(b"a.png\r\n\nb b.png\n")
        got = next(lists)
        if got == ["a.png"]:
            got += next(lists)
        assert got == ["a.png", "b b.png"]
        source.write(b"\xff.png\n")
        assert next(lists) == [os.fsdecode(b"\xff.png")]
        source.write(b"last.png")
        source.close()
        assert next(lists) == ["last.png"]
        assert list(lists) == []


def test_each_name_has_its_line_before_the_next_comes(tmp_path):
    written = []

    def lists():
        for i in range(3):
            assert len(written) == i
            yield [str(picture(tmp_path / f"{i}.png"))]

    assert score_names(detector(), lists(), written.append, keep=False) == Counter({"OK": 3})


def test_names_on_standard_input(command, tmp_path, monkeypatch, capsys):
    names = [picture(tmp_path / "a.png"), picture(tmp_path / "b.png", 255), tmp_path / "gone.png"]
    text = b"".join(os.fsencode(name) + b"\n" for name in [*names, "a\0b.png"])
    monkeypatch.setattr(streams.sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    assert command("-", "--overlays", tmp_path / "o") == 3
    out, err = capsys.readouterr()
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["file"] for row in rows] == [*map(str, names), "a\0b.png"]
    assert [row["decision"] for row in rows] == ["OK", "NG", "ERROR", "ERROR"]
    assert "4 images: 2 ERROR, 1 NG, 1 OK" in err
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["a.png.png", "b.png.png"]


def test_the_same_scores_from_every_way_in(command, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    paths = [picture(folder / f"{i}.png", 10 + 30 * i) for i in range(5)]
    expected = [detector(batch_size=1).inspect(path).score for path in paths]
    command(folder, "--out", tmp_path / "a.jsonl", "--format", "jsonl")
    monkeypatch.setattr(streams.sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(map(str, paths)).encode())))
    command("-", "--out", tmp_path / "b.jsonl")
    command("--watch", folder, "--out", tmp_path / "c.jsonl", "--settle", "0.02", "--stop-after", "0.1")
    for name in ("a", "b", "c"):
        assert [row["score"] for row in lines(tmp_path / f"{name}.jsonl")] == expected


def test_a_watched_folder_is_resumed(command, tmp_path, capsys):
    folder, out = tmp_path / "in", tmp_path / "out.jsonl"
    (folder / "sub").mkdir(parents=True)
    picture(folder / "a.png")
    arguments = ("--watch", folder, "--out", out, "--settle", "0.02", "--stop-after", "0.1")
    assert command(*arguments) == 0
    out.write_bytes(out.read_bytes() + b'{"file": "cut')
    picture(folder / "sub" / "b.png", 255)
    assert command(*arguments, "--fail-on", "ng", "--overlays", tmp_path / "o") == 10
    assert [(row["file"], row["decision"]) for row in lines(out)] == [
        (str(folder / "a.png"), "OK"),
        (str(folder / "sub" / "b.png"), "NG"),
    ]
    assert [path.relative_to(tmp_path / "o") for path in (tmp_path / "o").rglob("*.png")] == [Path("sub/b.png.png")]
    assert "1 files have their line" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "expected images to score"),
        (("a.png", "--watch", "."), "expected images to score"),
        (("-", "a.png"), 'expected either "-" or images'),
        (("--watch", "/no/such", "--out", "x"), "--watch: no folder '/no/such'"),
        (("--watch", "."), "expected --out FILE"),
        (("--watch", ".", "--out", "x", "--format", "csv"), "expected --out FILE"),
        (("--watch", ".", "--out", "x", "--settle", "0"), "more than 0 seconds"),
        (("a.png", "--out", "/no/such/x.csv"), "no folder /no/such"),
        (("a.png", "--out", "/proc/x.csv"), "nothing can be written to /proc"),
        (("a.png", "--out", "/tmp"), "/tmp is a folder"),
        (("/no/such/*.png",), "no images there"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(command, capsys, arguments, message):
    assert command(*arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_a_folder_that_is_away_is_waited_for(tmp_path, caplog):
    folder, aside = tmp_path / "in", tmp_path / "aside"
    folder.mkdir()
    picture(folder / "a.png")
    folder.rename(aside)
    threading.Timer(0.2, lambda: aside.rename(folder)).start()
    with Journal(tmp_path / "out.jsonl") as journal:
        said = watch(detector(), Arrivals(folder, done=journal.done, settle=0.02), journal, stop_after=1)
    assert said == Counter({"OK": 1})
    assert caplog.text.count("waiting for it") == 1


WATCH = """
import sys
sys.path.insert(0, sys.argv[3])
from bright import detector
from gnl_jax.cli.streams import watch
from gnl_jax.detection.arrivals import Arrivals
from gnl_jax.detection.journal import Journal
with Journal(sys.argv[2]) as journal:
    print(len(journal.done), flush=True)
    watch(detector(), Arrivals(sys.argv[1], done=journal.done, settle=0.1), journal, stop_after=float(sys.argv[4]))
"""


@pytest.mark.slow
def test_killed_twenty_times_among_500_files(tmp_path):
    """Files arrive in pieces under their final name; the watcher is killed while it writes, 20 times."""
    folder, out, rng = tmp_path / "in", tmp_path / "out.jsonl", np.random.default_rng(0)
    folder.mkdir()
    data, more = picture(tmp_path / "x.png").read_bytes(), threading.Semaphore(0)

    def arrive():
        for i in range(500):
            if i % 24 == 0:  # the last 20 of 500 wait for the last kill
                more.acquire()
            with open(folder / f"{i:03}.png", "wb") as file:
                file.write(data[: len(data) // 2])
                file.flush()
                time.sleep(0.02)
                file.write(data[len(data) // 2 :])

    def written():
        return out.read_bytes().count(b"\n") if out.exists() else 0

    threading.Thread(target=arrive, daemon=True).start()
    arguments = [sys.executable, "-c", WATCH, folder, out, str(ROOT / "tests"), "600"]
    killed_at = []
    for _ in range(20):
        more.release()
        target = written() + rng.integers(1, 20)
        with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.DEVNULL) as watcher:
            while written() < target:
                assert watcher.poll() is None
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.01))
            watcher.kill()
        killed_at.append(written())
    assert 0 < killed_at[0] < killed_at[-1] < 500
    more.release()
    subprocess.run([*arguments[:-1], "5"], cwd=ROOT, check=True, timeout=600, stdout=subprocess.DEVNULL)
    rows = lines(out)
    assert sorted(row["file"] for row in rows) == [str(folder / f"{i:03}.png") for i in range(500)]
    assert {row["decision"] for row in rows} == {"OK"}
