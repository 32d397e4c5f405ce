"""The page of a scored batch, without a browser: order, limits, no text that acts, memory."""

import html
import json
import os
import re
import tracemalloc

import numpy as np
import pytest
from bright import detector
from PIL import Image

from gnl_jax.detection.advice import State, Verdict
from gnl_jax.detection.inspection import Inspected
from gnl_jax.report.pictures import map_layer, within
from gnl_jax.report.triage import Held, Triage, row

HOSTILE = ('"><img src=x onerror=alert(1)>.png', "</script><script>alert(1)<!--.png", "\x1b[31m\u202e.png", "=a|b.png")
VERDICT = Verdict(State.DRIFTED, "DRIFT: <b>all</b> parts", "Recalibrate.", "gnl-jax recalibrate")


def written(folder, results, **options):
    with Triage(folder / "page.html", detector()) as triage:
        for result in results:
            triage.add(result)
        held = triage.write(VERDICT, file="x.gnl", **options)
    assert sorted(os.listdir(folder)).count("page.html") == 1
    return held, (folder / "page.html").read_text()


def part_of(page, name):
    return json.loads(re.search(rf'id="{name}">(.*?)</script>', page, re.DOTALL)[1])


@pytest.fixture
def scored(tmp_path):
    """Results of images with these names, the brightest last."""

    def score(*names):
        for i, name in enumerate(names):
            path = tmp_path / "in" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (30, 20), (60 + 20 * i,) * 3).save(path)
        return list(detector().inspect([tmp_path / "in" / name for name in names], keep=True))

    return score


def test_by_rank_with_numbers_and_pictures(tmp_path, scored):
    results = scored(*(f"{i}.png" for i in range(5)))
    held, page = written(tmp_path, [*results, Inspected("gone.png", "ERROR", "gone.png: no such file")])
    rows = part_of(page, "rows")
    assert held == Held(6, 5, 5)
    assert [(row["place"], row["decision"]) for row in rows] == [
        *((5, "NG"), (4, "REVIEW"), (3, "REVIEW"), (2, "REVIEW"), (6, "ERROR"), (1, "OK")),
    ]
    top = rows[0]
    assert (top["score"], top["p_value"], top["drift"]) == (results[4].score, results[4].p_value, results[4].drift)
    assert (top["size"], top["boxes"]) == ([20, 30], [[0, 0, 30, 20]])
    assert set(re.findall(r'id="(\w+)-5"', page)) == {"small", "map", "native"}
    assert 'id="map-1"' not in page  # nothing of it exceeds the threshold
    batch = part_of(page, "batch")
    assert batch["thresholds"] == dict(zip(("ng", "review"), detector().record.thresholds))
    assert "DRIFT: &lt;b&gt;all&lt;/b&gt; parts" in page


def test_no_name_acts(tmp_path, scored):
    folder = tmp_path / "in"
    _, page = written(tmp_path, scored(*HOSTILE))
    assert page.count("<script") == 3 + 2 * len(HOSTILE) + page.count('id="map-')
    assert "<img src=x" not in page
    assert "<!--" not in page
    assert all(c.isprintable() or c == "\n" for c in page)
    rows = part_of(page, "rows")
    shown = {row["name"].removeprefix(f"{folder}/") for row in rows}
    assert shown == {HOSTILE[0], HOSTILE[1], "\\x1b[31m\\u202e.png", HOSTILE[3]}
    assert html.unescape(page)  # what is in the page is text


def test_a_limit_leaves_out_those_of_the_lowest_rank(tmp_path, scored):
    results = scored(*(f"{i}.png" for i in range(6)))
    whole, page = written(tmp_path, results)
    assert whole == Held(6, 6, 6)
    sizes = {name: len(data) for name, data in re.findall(r'id="(\w+-\d)">([^<]*)', page)}
    small = sum(sizes[f"{kind}-{i}"] for kind in ("small", "map") for i in (6, 5, 4) if f"{kind}-{i}" in sizes)
    held, page = written(tmp_path, results, limit_mb=(small / 0.6 + 10) / 1e6)
    assert held.images == 6
    assert held.small == 3
    assert set(re.findall(r'id="small-(\d)"', page)) == {"6", "5", "4"}
    assert len(part_of(page, "rows")) == 6
    assert sum(len(data) for _, data in re.findall(r'id="(\w+-\d)">([^<]*)', page)) <= small / 0.6 + 10


def test_a_file_that_went_away_keeps_its_row_and_its_small_picture(tmp_path, scored):
    results = scored("a.png", "b.png")
    with Triage(tmp_path / "page.html", detector()) as triage:
        for result in results:
            triage.add(result)
        os.remove(results[1].path)
        assert triage.write(VERDICT, file="x.gnl") == Held(2, 2, 1)


def test_a_file_that_went_away_before_its_row_has_one(tmp_path, scored, caplog):
    results = scored("a.png", "b.png")
    os.remove(results[1].path)
    held, page = written(tmp_path, results)
    assert (held.images, held.native) == (2, 1)
    content = {row["name"]: row["sha256"] for row in part_of(page, "rows")}
    assert (len(content[results[0].path]), content[results[1].path]) == (64, "")
    assert f"{results[1].path!r}: No such file" in caplog.text
    assert "no command can use a mark on it" in caplog.text


def test_no_text_of_a_row_is_a_formula():
    entry = row(Inspected("=a.png", "ERROR", "=a.png: no such file"), 1)
    assert (entry["file"], entry["reason"], entry["below"]) == ("'=a.png", "'=a.png: no such file", "'=a.png")


def test_the_name_below_the_input_is_kept():
    result = Inspected("in/a/=b.png", "ERROR", "")
    assert row(result, 1, below="a/=b.png")["below"] == "a/=b.png"
    assert row(result, 1)["below"] == "'=b.png"


def test_an_interrupted_page_leaves_the_old_one(tmp_path, scored, monkeypatch):
    (tmp_path / "page.html").write_text("old")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("gnl_jax.report.triage.native", interrupted)
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path, scored("a.png"))
    assert sorted(os.listdir(tmp_path)) == ["in", "page.html"]
    assert (tmp_path / "page.html").read_text() == "old"


def test_memory_does_not_grow_with_the_pictures(tmp_path, scored):
    """An image more takes less than 1.5 kB; in the page it takes 4 kB or more."""
    (one,) = scored("a.png")
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    Image.fromarray(noise).resize((90, 90)).save(one.path)
    peaks, sizes = [], []
    for n in (5, 5, 45):  # what is imported and compiled at first is not counted
        with Triage(tmp_path / "page.html", detector()) as triage:
            tracemalloc.start()
            for _ in range(n):
                triage.add(one)
            assert triage.write(VERDICT, file="x.gnl") == Held(n, n, n)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        sizes.append(os.path.getsize(tmp_path / "page.html"))
    assert sizes[2] - sizes[1] > 40 * 4000
    assert peaks[2] - peaks[1] < 40 * 1500


def test_a_map_is_clear_up_to_the_threshold(scored, tmp_path):
    (result,) = scored("a.png")
    score_map = np.zeros((32, 32), np.float32)
    assert map_layer(detector(), result._replace(map=score_map)) == b""
    score_map[8:16, 16:24] = 1
    (tmp_path / "map.png").write_bytes(map_layer(detector(), result._replace(map=score_map)))
    layer = np.asarray(Image.open(tmp_path / "map.png").convert("RGBA"))
    assert layer.shape == (20, 30, 4)
    assert layer[6:9, 16:21, 3].min() == 255
    assert layer[:4, :, 3].max() == layer[:, :12, 3].max() == 0


def test_small_pictures_keep_their_aspect():
    assert within((3000, 1000), 150) == (150, 50)
    assert within((20, 30), 150) == (20, 30)
    assert within((5000, 2), 100) == (100, 1)
