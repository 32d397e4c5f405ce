"""The page of a fit: what was found, the most unusual images at their own aspect, the command, what more images buy."""

import base64
import dataclasses
import html
import io
import re
import shlex
import subprocess

import bright
import numpy as np
import pytest
import tiny_bank
from PIL import Image

from gnl_jax.cli.fit_all import own_options
from gnl_jax.config import default_config
from gnl_jax.detection.options import FitOptions
from gnl_jax.detection.survey import survey_folder
from gnl_jax.report.fit_page import learned_from_one_part, write_fit_page
from gnl_jax.report.rates_curve import bound, drawing, supported, table
from gnl_jax.text import shell_word

HOSTILE = ('"><img src=x onerror=alert(1)>.png', "-x y.png", "\x1b[31m\u202e'.png", "$(rm -rf x).png")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Of a memory bank, whose folder has four hostile names with the oddest pictures."""
    root = tmp_path_factory.mktemp("fit")
    (root / "good").mkdir()
    for i, image in enumerate(tiny_bank.images(40)):
        Image.fromarray(image).resize((60, 30)).save(root / "good" / f"{i:02}.png")
    for k, name in enumerate(HOSTILE):  # textures of their own
        cells = np.random.default_rng(k).integers(0, 2, (32 >> k, 32 >> k, 3)).repeat(1 << k, 0).repeat(1 << k, 1)
        Image.fromarray((255 * cells).astype(np.uint8)).resize((60, 30)).save(root / "good" / name)
    detector, _ = tiny_bank.fit_bank(str(root / "good"), tiny_bank.make_method("none"))
    survey = survey_folder(root / "good", tiny_bank.config().dataset)
    words = {"command": "gnl-jax fit good --out x.gnl", "following": "gnl-jax shift x.gnl --good GOOD --bad BAD"}
    path = root / "x.gnl.fit.html"
    write_fit_page(detector, root / "good", path, survey=survey, options=FitOptions(), **words)
    return path.read_text()


def test_the_most_unusual_come_first_at_their_own_aspect(page):
    names = [
        html.unescape(name) for name in re.findall(r'<span class="name">(.*?)</span> <span class="soft">score', page)
    ]
    assert len(names) == 10
    assert {HOSTILE[0], HOSTILE[1], "\\x1b[31m\\u202e'.png", HOSTILE[3]} <= set(names)
    pictures = re.findall(r'<img src="data:image/jpeg;base64,([^"]*)"', page)
    sizes = {Image.open(io.BytesIO(base64.b64decode(picture))).size for picture in pictures}
    assert (len(pictures), sizes) == (20, {(60, 30)})
    assert "onerror=alert(1)>" not in page
    assert all(c.isprintable() or c in "\n " for c in page)


def test_each_has_its_exclude_ready_for_a_shell(page):
    words = [html.unescape(word) for word in re.findall(r'<input type="checkbox" value="(.*?)"', page)]
    given = subprocess.run(["bash", "-c", f"printf '%s\\0' {' '.join(words)}"], capture_output=True, timeout=60).stdout
    names = [word.decode().removeprefix("--exclude=") for word in given.split(b"\0")[:-1]]
    assert set(HOSTILE) <= set(names)
    assert '<code id="command">gnl-jax fit good --out x.gnl</code>' in page


def test_it_says_what_was_found_and_what_is_next(page):
    text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<(style|script).*?</\1>|<[^>]*>", " ", page, flags=re.DOTALL)))
    assert "Found 44 images: 60x30; RGB; brightness" in text
    assert "Next: show the detector parts that it has not seen. gnl-jax shift x.gnl --good GOOD --bad BAD" in text
    assert "44 (now) 19 5 % 14.6 % never" in text
    assert "440 132 4.51 % 7.8 % 0.752 %" in text


def test_the_rates_are_those_that_a_fit_would_choose():
    assert supported(17, FitOptions()) is None
    few, both = supported(18, FitOptions()), supported(198, FitOptions())
    assert (few.calibrating, float(few.review.rate), few.ng) == (9, 0.1, None)
    assert (both.calibrating, float(both.review.rate), float(both.ng.rate)) == (99, 0.05, 0.01)
    assert bound(both.ng) == pytest.approx(0.0298, abs=1e-4)
    assert supported(198, FitOptions(ng="0.5%")) is None
    assert supported(208, FitOptions(ng="0.5%")).ng.k == 1
    assert [row.parts for row in table(20, FitOptions())] == [20, 40, 100, 200, 400]
    assert [row.parts for row in table(9, FitOptions())] == [18, 45, 90, 180]


def test_the_drawing_falls_with_more_images():
    drawn = drawing(60, FitOptions())
    points = [tuple(map(float, point.split())) for point in drawn["lines"]["review"]["bound"][1:].split("L")]
    assert points == sorted(points)  # from left to right, downwards: y grows
    across, down = np.array(points).T
    assert (np.diff(across) > 0).all()
    assert down[-1] > down[0]
    assert across[0] <= drawn["now"] <= across[-1]
    assert drawing(3, FitOptions())["parts"] == 3


def test_the_count_of_today_is_on_the_axis_and_marked_if_it_supports_a_rate(three):
    """With 3 parts the table begins with 30, which are not those there are."""
    drawn = drawing(1, FitOptions())
    assert drawn["now"] == drawn["left"]
    folder, words = three
    page = write_fit_page(detector({"parts": np.arange(3)}), folder, folder.parent / "x.fit.html", **words).read_text()
    rates = page[page.index('id="rates"') :]
    assert re.findall(r'<th scope="row">(.*?)</th>', rates) == ["30", "60"]


@pytest.fixture
def three(tmp_path, monkeypatch):
    """A folder of three images and the other arguments; each call that ranks them is counted, and compiles nothing."""
    for i in range(3):
        (tmp_path / "good").mkdir(exist_ok=True)
        Image.new("RGB", (60, 30), (80 * i + 10,) * 3).save(tmp_path / "good" / f"{i}.png")
    monkeypatch.setattr(
        "gnl_jax.report.fit_page.predict_as_new",
        lambda detector, good, **_: CALLS.append(len(good.names)) or detector(good.images),
    )
    CALLS.clear()
    dataset = default_config().dataset
    dataset.cache = ""
    words = {"survey": survey_folder(tmp_path / "good", dataset), "command": "x", "following": ""}
    return tmp_path / "good", {**words, "options": FitOptions()}


CALLS = []


def detector(variables):
    plain = bright.detector()
    return dataclasses.replace(plain, variables={**plain.variables, **variables})


def test_all_that_are_shown_are_ranked_in_one_call(three):
    folder, words = three
    page = write_fit_page(detector({"parts": np.arange(3)}), folder, folder.parent / "x.fit.html", **words).read_text()
    assert CALLS == [3, 3]
    assert re.findall(r'<span class="name">(.*?)</span>', page) == ["2.png", "1.png", "0.png"]
    assert page.count("data:image/jpeg") == 6


def test_images_of_one_part_are_not_ranked_and_the_page_says_so(three):
    folder, words = three
    one = detector({"parts": np.zeros(3, np.int32)})
    page = write_fit_page(one, folder, folder.parent / "x.fit.html", **words).read_text()
    assert CALLS == []
    assert "Not ranked: the detector was learned from one part." in page
    assert "<script>" not in page
    assert learned_from_one_part(one)
    assert not learned_from_one_part(detector({}))  # a student is compared with nothing


@pytest.mark.parametrize("text", ["a", "a b", "it's", "--exclude=x y", "ü.png", "\x1b\n", "\udcff", "\u202e'\\", ""])
def test_a_word_of_a_shell_comes_back(text):
    word = shell_word(text)
    assert word.isprintable()
    done = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, timeout=60)
    assert done.stdout == text.encode(errors="surrogateescape")
    if text.isprintable():
        assert shlex.split(word) == [text]


def test_a_fit_of_one_product_has_the_options_of_all():
    words = ["fit-all", "root", "--out", "DIR", "--size", "64", "--ou=DIR", "--exclude", "x.png"]
    assert own_options(words, "root") == ["--size", "64", "--exclude", "x.png"]
