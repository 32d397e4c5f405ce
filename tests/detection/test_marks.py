"""Marks of a batch, read back: images found by name and content, whole batches told from flagged images alone."""

import os

import pytest
from bright import detector
from marked_batch import write_marks
from PIL import Image

from gnl_jax.config import default_config
from gnl_jax.detection.grouping import part_names
from gnl_jax.detection.marks import Marks, read_marks, require_all
from gnl_jax.detection.parts import read_files
from gnl_jax.report.shift_files import marked_files

HOSTILE = [
    '"><img src=x onerror=alert(1)>.png',
    "=cmd|x.png",
    "'quoted.png",
    "\x1b[2J.png",
    "\u202egnp.png",
    "two\nlines.png",
    "\\x41.png",
    os.fsdecode(b"\xff.png"),
    "é" * 120 + ".png",
]


@pytest.fixture
def batch(tmp_path, monkeypatch):
    """Scores images with these names, in the current folder."""
    monkeypatch.chdir(tmp_path)

    def scored(*names):
        for i, name in enumerate(names):
            Image.new("RGB", (40, 40), (i + 1, 0, 0)).save(name)
        return list(detector().inspect(names))

    return scored


def test_they_are_told_apart_in_the_order_of_the_batch(batch):
    results = batch("c.png", "b.png", "a.png", "d.png", "e.png")
    path = write_marks("m.csv", results, ["good", "bad", "good", "", "unsure"])
    below = {name: name for name in ("a.png", "b.png", "c.png", "e.png")}
    assert read_marks(path) == Marks(("c.png", "a.png"), ("b.png",), ("e.png",), 1, "m.csv", below)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_comes_back(batch, name):
    path = write_marks("m.csv", batch("a.png", name), ["bad", "good"])
    assert read_marks(path).good == (name,)


def test_a_spreadsheet_may_save_them_and_the_folder_may_move(batch, tmp_path, monkeypatch):
    os.makedirs("in")
    path = write_marks("m.csv", batch("in/a.png", "in/b.png"), ["good", ""], separator=";")
    content = (tmp_path / path).read_bytes()
    (tmp_path / path).write_bytes(b"\xef\xbb\xbf" + content.replace(b"good", b"GOOD"))
    os.makedirs("elsewhere")
    monkeypatch.chdir("elsewhere")
    assert read_marks("../m.csv").good == (str(tmp_path / "in/a.png"),)


def test_an_image_that_is_gone_or_has_changed_is_named(batch, tmp_path):
    path = write_marks("m.csv", batch("a.png", "b.png"), ["good", "good"])
    Image.new("RGB", (40, 40), (99, 0, 0)).save("b.png")
    with pytest.raises(ValueError, match=r"the marked image 'b.png' has another content"):
        read_marks(path)
    os.remove("b.png")
    with pytest.raises(ValueError, match=r"the marked image 'b.png' is not there"):
        read_marks(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("mark,", "", 1), "no column 'mark'"),
        (lambda text: text.replace("good", "fine"), "got mark 'fine', expected one of good, bad, unsure"),
        (lambda text: text + text.splitlines()[1] + "\n", "one line twice"),
        (lambda text: text.replace(",1,2\n", ",x,2\n"), "without numbers in the columns place and of"),
        (lambda text: text.replace(",1,2\n", ",1,1000000000000\n").replace(",2,2\n", ",0,1000000000000\n"), "several"),
        (lambda text: text.replace("a.png", r"\Uffffffff.png", 1), "the marked image .* is not there"),
        (lambda text: text.replace(",a.png,1", ",b.png,1"), "in the column below, expected an end of 'a.png'"),
        (lambda text: "", "no column 'file'"),
    ],
)
def test_another_file_is_refused(batch, change, message):
    path = write_marks("m.csv", batch("a.png", "b.png"), ["good", ""])
    with open(path, encoding="utf-8", newline="") as file:
        text = file.read().replace("\r\n", "\n")
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(change(text))
    with pytest.raises(ValueError, match=message):
        read_marks(path)


def test_a_threshold_takes_every_image_of_the_batch(batch):
    results = batch("a.png", "b.png", "c.png")
    whole = read_marks(write_marks("m.csv", results, ["good", "bad", "good"]))
    assert require_all(whole, purpose="the threshold") is whole
    some = read_marks(write_marks("m.csv", results, ["good", "", "unsure"]))
    with pytest.raises(
        ValueError, match=r"1 images have no mark and 1 are marked unsure, expected every image .* bias t"
    ):
        require_all(some, purpose="the threshold")
    with open("m.csv", encoding="utf-8") as file:
        lines = file.readlines()
    with open("m.csv", "w", encoding="utf-8") as file:  # lines of images that were not flagged are deleted
        file.writelines([lines[0], lines[1]])
    with pytest.raises(ValueError, match="2 images have no mark"):
        require_all(read_marks("m.csv"), purpose="the threshold")


def test_a_huge_batch_takes_no_memory(batch):
    path = write_marks("m.csv", batch("a.png"), ["good"])
    with open(path, encoding="utf-8", newline="") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(text.replace(",1,1\r\n", f",1,{10**12}\r\n"))
    assert read_marks(path).unmarked == 10**12 - 1


@pytest.mark.parametrize("name", HOSTILE)
def test_parts_are_those_of_the_names_below_the_input(batch, name):
    """As `fit` and `score` group them: the folder's own name matches, too, and counts for nothing."""
    folder = os.path.join("part9", "in")
    os.makedirs(os.path.join(folder, "part1"))
    names = [f"part1/{name}", "part1/b.png", "part2.png"]
    paths = [os.path.join(folder, one) for one in names]
    path = write_marks("m.csv", batch(*paths), ["good"] * 3, below=names)
    marks = read_marks(path)
    expected = part_names(names, r"part\d")
    assert expected == ("part1", "part1", "part2")
    assert marked_files(marks.good, "", below=marks.below, group_by=r"part\d").parts == expected
    good = read_files(marks.good, default_config().dataset, below=marks.below, group_by=r"part\d", native=None)
    assert (good.names, good.parts) == (tuple(paths), expected)
    assert marked_files(marks.good, "", below=marks.below).parts == tuple(paths)


def test_marks_without_names_below_an_input_are_grouped_by_path(batch):
    path = write_marks("m.csv", batch("a.png"), ["good"])
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace(",below,", ",other,"))
    assert read_marks(path).below == {"a.png": "a.png"}


def test_an_image_that_could_not_be_scored_needs_no_mark(batch, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    batch("a.png")
    results = list(detector().inspect(["a.png", "broken.png"]))
    marks = read_marks(write_marks("m.csv", results, ["good", ""]))
    assert require_all(marks, purpose="the threshold").good == ("a.png",)
