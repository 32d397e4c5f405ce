"""The page of a scored batch in Chromium: filters, lightbox, keys, marks that are exported and read back."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from bright import detector
from chromium import CONTRAST, errors, open_page, photograph, requests
from PIL import Image, ImageDraw
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from gnl_jax.cli import score
from gnl_jax.cli.arguments import Opened
from gnl_jax.cli.main import main
from gnl_jax.detection.marks import read_marks

HOSTILE = (
    '"><img src=x onerror=alert(1)>.png',
    "=cmd|x.png",
    "\x1b[31mred\x1b[0m.png",
    "\u202egnp.exe.png",
    "x" * 251 + ".png",
    "two\nlines.png",
    os.fsdecode(b"\xff.png"),
    '& "quoted, name".png',
    "</script><script>alert(1)</script>.png",  # two folders and a file
)
FLAGGED, GOOD = 4, 70


def part(value, *, line=None):
    """A grey part of 240x160 pixels, with a bright line if it is flawed."""
    image = Image.fromarray(np.random.default_rng(value).integers(value - 9, value, (160, 240, 3)).astype(np.uint8))
    if line:
        ImageDraw.Draw(image).line([80, 50, 140, 90], fill=(line, line, line), width=7)
    return image


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """A batch in folders: 70 good parts, 4 flagged, one unreadable, hostile names; and the page that score wrote."""
    root = tmp_path_factory.mktemp("batch")
    for i in range(GOOD):
        path = root / "in" / ("a" if i % 2 else "b/night") / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        part(30 + i % 20).save(path)
    for i in range(FLAGGED):
        part(40, line=220 + i).save(root / "in" / "a" / f"flawed {i}.png")
    for name in HOSTILE:
        path = root / "in" / "hostile" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part(35).save(path)
    (root / "in" / "b" / "broken.png").write_bytes(b"\x89PNG")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score, "open_detector", lambda path: Opened(detector(drift=None), "0", Path(path)))
        words = ("score", "bright.gnl", root / "in", "--html", root / "page.html", "--out", root / "x.csv")
        assert main([str(word) for word in words]) == 3
    return root


@pytest.fixture
def page(browser, batch, tmp_path):
    """The page, opened afresh without marks; downloads go to tmp_path."""
    opened(browser, batch)
    browser.execute_script("localStorage.clear()")
    where = {"behavior": "allow", "downloadPath": str(tmp_path)}
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", where)
    return opened(browser, batch)


def opened(browser, batch, **options):
    open_page(browser, batch / "page.html", **options)
    WebDriverWait(browser, 30).until(tiles)
    return browser


def tiles(browser):
    return browser.find_elements(By.CSS_SELECTOR, "#tiles li")


def names(browser):
    return browser.execute_script("return [...document.querySelectorAll('#tiles .name')].map(e => e.textContent)")


def text(browser, name):
    return browser.find_element(By.ID, name).text


def choose(browser, name, value):
    Select(browser.find_element(By.NAME, name)).select_by_value(value)


def export(browser, tmp_path):
    browser.find_element(By.ID, "export").click()
    path = tmp_path / "page.marks.csv"
    WebDriverWait(browser, 30).until(lambda _: downloaded(path))
    return path


def downloaded(path):
    """Chrome holds the name with an empty file while it writes another, which then takes the name."""
    return path.exists() and path.stat().st_size > 0 and not list(path.parent.glob("*.crdownload"))


def press(browser, *keys):
    ActionChains(browser).send_keys(*keys).perform()


TOTAL = GOOD + FLAGGED + len(HOSTILE) + 1


def test_flagged_images_come_first_and_a_page_has_sixty(page):
    assert names(page)[:FLAGGED] == [f"a/flawed {i}.png" for i in reversed(range(FLAGGED))]
    assert text(page, "flagged") == f"{FLAGGED} of {TOTAL}"
    assert text(page, "shown") == f"1–60 of {TOTAL}"
    said = [tile.find_element(By.CLASS_NAME, "said").text for tile in tiles(page)[: FLAGGED + 2]]
    assert all(words.startswith("▲ NG score") for words in said[:FLAGGED])
    assert said[FLAGGED] == "✕ ERROR"
    assert said[FLAGGED + 1].startswith("● OK score")
    before, after = page.find_elements(By.CSS_SELECTOR, ".pager button")[:2]
    assert not before.is_enabled()
    page.execute_script("arguments[0].click()", after)
    assert text(page, "shown") == f"61–{TOTAL} of {TOTAL}"
    assert not after.is_enabled()


def test_filters_and_orders(page):
    for name, value, count in (
        ("decision", "flagged", FLAGGED),
        ("decision", "is ERROR", 1),
        ("decision", "is OK", GOOD + len(HOSTILE)),
    ):
        choose(page, name, value)
        assert text(page, "shown").endswith(f" of {count}")
    page.find_element(By.CSS_SELECTOR, "#filter [type=reset]").click()
    WebDriverWait(page, 10).until(lambda b: text(b, "shown").endswith(f" of {TOTAL}"))
    folders = Select(page.find_element(By.NAME, "folder")).options
    (night,) = (o for o in folders if o.text.endswith(f"b/night ({GOOD // 2})"))
    night.click()
    assert text(page, "shown") == f"1–{GOOD // 2} of {GOOD // 2}"
    choose(page, "order", "name")
    assert names(page) == [f"b/night/{i:02}.png" for i in range(0, GOOD, 2)]
    page.find_element(By.NAME, "text").send_keys("/2", Keys.ENTER)
    assert names(page) == [f"b/night/{i}.png" for i in range(20, 30, 2)]


def test_the_keyboard_marks_and_moves_on(page, batch, tmp_path):
    tiles(page)[0].find_element(By.CLASS_NAME, "open").send_keys("b")
    press(page, "b", Keys.ARROW_RIGHT, Keys.ARROW_LEFT, "u", "g")
    assert text(page, "marks-text") == "1 good, 2 bad, 1 unsure"
    press(page, "g")  # the unreadable one has no mark
    assert text(page, "marked") == f"{FLAGGED} of {TOTAL - 1}"
    page.refresh()  # the browser keeps them
    assert text(page, "marks-text") == "1 good, 2 bad, 1 unsure"
    choose(page, "mark", "bad")
    assert len(tiles(page)) == 2
    marks = read_marks(export(page, tmp_path))
    flawed = [str(batch / "in" / "a" / f"flawed {i}.png") for i in range(FLAGGED)]
    assert (marks.good, marks.bad, marks.unsure) == ((flawed[0],), (flawed[2], flawed[3]), (flawed[1],))
    assert marks.unmarked == TOTAL - 1 - FLAGGED
    tiles(page)[0].find_element(By.CSS_SELECTOR, ".m-bad").click()  # once more takes it back
    assert text(page, "marks-text") == "1 good, 1 bad, 1 unsure"


def test_marks_of_hostile_names_come_back(page, batch, tmp_path):
    page.find_element(By.NAME, "text").send_keys("hostile")
    found = tiles(page)
    assert len(found) == len(HOSTILE)
    found[0].find_element(By.CLASS_NAME, "open").send_keys("g")
    press(page, *"g" * (len(HOSTILE) - 1))
    path = export(page, tmp_path)
    assert all(c.isprintable() or c == "\n" for c in path.read_text())
    assert not any(line.startswith(("=", '"=')) for line in path.read_text().splitlines())
    good = set(read_marks(path).good)
    assert good == {str(batch / "in" / "hostile" / name) for name in HOSTILE}


def test_the_lightbox_by_keys_and_by_mouse(page):
    tiles(page)[0].find_element(By.CLASS_NAME, "open").send_keys(Keys.ENTER)
    box = page.find_element(By.ID, "box")
    assert box.get_attribute("open") is not None
    assert text(page, "box-name").endswith("in/a/flawed 3.png")
    assert "240 × 160 pixels" in text(page, "box-facts")
    natural = "const i = document.getElementById('picture'); return [i.naturalWidth, i.naturalHeight, i.clientWidth]"
    press(page, "z")
    assert page.execute_script(natural) == [240, 160, 240]  # the image's own pixels, one to one
    press(page, "z")
    assert page.execute_script(natural)[2] > 240
    heat = page.find_element(By.ID, "heat")
    assert heat.get_attribute("src").startswith("data:image/png;base64,")
    slider = page.find_element(By.ID, "opacity")
    page.execute_script("arguments[0].value = 25; arguments[0].dispatchEvent(new Event('input'))", slider)
    assert heat.value_of_css_property("opacity") == "0.25"
    press(page, "h")
    assert heat.value_of_css_property("opacity") == "0"
    press(page, "h")
    assert heat.value_of_css_property("opacity") == "0.25"
    boxes = "return [...document.querySelectorAll('#frame rect.line')].filter(e => e.checkVisibility()).length"
    assert page.execute_script(boxes) == 1
    press(page, "x")
    assert page.execute_script(boxes) == 0
    press(page, "b")  # marks and goes on
    assert text(page, "box-name").endswith("flawed 2.png")
    press(page, Keys.ARROW_LEFT)
    assert text(page, "box-name").endswith("flawed 3.png")
    assert page.find_element(By.CSS_SELECTOR, "#box-marks .m-bad").get_attribute("aria-pressed") == "true"
    assert not page.find_element(By.ID, "before").is_enabled()
    page.find_element(By.ID, "after").click()
    assert text(page, "box-name").endswith("flawed 2.png")
    press(page, Keys.ESCAPE)
    assert box.get_attribute("open") is None
    assert page.execute_script("return document.activeElement.closest('li').querySelector('.name').textContent") == (
        "a/flawed 2.png"
    )


def test_the_timeline_has_thresholds_and_opens_images(page):
    figure = page.find_element(By.ID, "scores")
    labels = [found.get_attribute("textContent") for found in figure.find_elements(By.TAG_NAME, "text")]
    assert labels == ["NG above 0.5", "REVIEW above 0.4796"]
    drawing = figure.find_element(By.TAG_NAME, "svg")
    assert drawing.get_attribute("aria-label").startswith(f"Score of {TOTAL - 1} images")
    triangles = figure.find_element(By.CSS_SELECTOR, "path.ng").get_attribute("d")
    assert triangles.count("M") == FLAGGED
    page.execute_script(
        """const svg = arguments[0], at = svg.getBoundingClientRect();
        svg.dispatchEvent(new MouseEvent('click', {clientX: at.left + 10, clientY: at.top + 140}))""",
        drawing,
    )
    assert f"image 1 of {TOTAL}" in text(page, "box-facts")
    assert figure.find_elements(By.CSS_SELECTOR, "path.here")


def test_nothing_is_fetched_nothing_runs_and_the_console_is_empty(page):
    page.execute_script("document.querySelector('[data-step=\"1\"]').click()")
    page.find_element(By.NAME, "text").send_keys("hostile")
    shown = {name.removeprefix("hostile/") for name in names(page)}
    assert {*HOSTILE[:2], HOSTILE[-1], "\\x1b[31mred\\x1b[0m.png", "\\u202egnp.exe.png", "two\\nlines.png"} <= shown
    assert page.execute_script("return document.querySelectorAll('#tiles img[onerror], #tiles script').length") == 0
    assert errors(page) == []
    assert [url for url in requests(page) if not url.startswith("data:")] == [page.current_url]


def test_controls_have_names(page):
    tiles(page)[0].find_element(By.CLASS_NAME, "open").click()
    unnamed = """return [...document.querySelectorAll('input, select')].filter(e => !e.labels.length).length
        + [...document.querySelectorAll('img:not([alt])')].length
        + [...document.querySelectorAll('button')].filter(e => !e.textContent.trim() && !e.ariaLabel).length"""
    assert page.execute_script(unnamed) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 900, 400])
def test_it_fits_has_contrast_and_can_be_looked_at(browser, batch, tmp_path, width, scheme):
    """WCAG AA, 4.5 to 1; leaves pictures of the page and the lightbox in pytest's folder (`--basetemp`)."""
    opened(browser, batch, width=width, scheme=scheme)
    photograph(browser, tmp_path / f"{width}-{scheme}.png", width=width)
    inner, widest = browser.execute_script("return [innerWidth, document.documentElement.scrollWidth]")
    assert widest <= inner == width
    checked, low = browser.execute_script(CONTRAST)
    assert checked > 200
    assert [entry for entry in low if entry[0] != "BUTTON"] == []  # one that is disabled may be faint
    browser.execute_script("document.querySelector('#tiles .open').click()")
    photograph(browser, tmp_path / f"{width}-{scheme}-box.png", width=width)
    box = browser.execute_script(
        "const b = document.getElementById('box').getBoundingClientRect(); return [b.left, b.right]"
    )
    assert 0 <= box[0] < box[1] <= width
    assert errors(browser) == []


def test_where_the_browser_keeps_nothing_it_says_so(browser, batch):
    opened(browser, batch)
    page = (batch / "page.html").read_text()
    assert json.loads(page.split('id="batch">')[1].split("</script>")[0])["key"].startswith("gnl-jax marks ")
    refuse = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('no'); }});"
    script = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": refuse})
    try:
        browser.refresh()
        assert "keeps no marks" in text(browser, "kept")
        tiles(browser)[0].find_element(By.CLASS_NAME, "open").send_keys("g")
        assert text(browser, "marks-text").startswith("1 good")
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
