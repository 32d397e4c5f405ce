"""The report in Chromium (`make test-browser`): sorting, filtering, printing, a phone, and that nothing is fetched."""

import base64
import itertools

import pytest
from chromium import CONTRAST, errors, media, open_page, photograph, requests
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait
from shift_report import condition, full_report, picture, small_report

from gnl_jax.report.html import write_page

HOSTILE = (
    '"><img src=x onerror=alert(1)>.png',
    "</script><script>alert(1)</script>",
    "x" * 300,
    "\udcff\u202e\x1b[31m",
)


@pytest.fixture
def show(browser, tmp_path):
    """Opens a report in a window of this size and colour scheme, afresh."""

    def opened(report, *, width=1280, height=900, scheme="light"):
        write_page(tmp_path / "report.html", report)
        return open_page(browser, tmp_path / "report.html", width=width, height=height, scheme=scheme)

    yield opened
    media(browser, "", "light")


def heading(browser, text):
    (found,) = (
        button.find_element(By.XPATH, "..")
        for button in browser.find_elements(By.CSS_SELECTOR, "#conditions thead button")
        if button.text.startswith(text)
    )
    return found


def names(browser):
    """Of the conditions that the table shows, in its order."""
    rows = browser.find_elements(By.CSS_SELECTOR, "#conditions tbody tr")
    return [row.find_element(By.TAG_NAME, "th").text for row in rows if row.is_displayed()]


def open_details(browser):
    return browser.execute_script("return [...document.querySelectorAll('details[open]')].map(d => d.id)")


def test_headings_sort_by_number_and_by_name_both_ways(show):
    browser = show(small_report())
    clean, ten, two, own = names(browser)
    assert (clean, ten, two, own) == ("clean", "gain_up 10", "gain_up 2", "line 7, new lamp")
    severity = heading(browser, "Severity")
    assert severity.get_attribute("aria-sort") == "none"
    severity.find_element(By.TAG_NAME, "button").click()
    assert severity.get_attribute("aria-sort") == "ascending"
    assert names(browser) == [two, ten, clean, own]
    severity.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)  # by keyboard alone, too
    assert severity.get_attribute("aria-sort") == "descending"
    assert names(browser) == [ten, two, clean, own]  # what has none stays last
    condition_name = heading(browser, "Condition")
    condition_name.find_element(By.TAG_NAME, "button").click()
    assert severity.get_attribute("aria-sort") == "none"
    assert names(browser) == [clean, two, ten, own]
    condition_name.find_element(By.TAG_NAME, "button").click()
    assert names(browser) == [own, ten, two, clean]


def test_every_heading_sorts_by_what_it_shows(show):
    conditions = [
        condition(f"own {n}", kind="own", n=n, stopped=k, by_score=k, by_drift=0, rejected=0, baseline=None)
        for n, k in ((100, 9), (20, 2), (300, 24))
    ]  # 9 %, 10 %, 8 %: by rate, not by count
    browser = show(small_report(conditions=conditions))
    heading(browser, "Good parts flagged").find_element(By.TAG_NAME, "button").click()
    assert names(browser) == ["own 300", "own 100", "own 20"]
    browser = show(full_report(size=8, shown=1))
    for column in browser.find_elements(By.CSS_SELECTOR, "#conditions thead th"):
        place = "return [...document.querySelectorAll('#conditions tbody tr')].map(r => r.cells[arguments[0].cellIndex]"
        for way in ("ascending", "descending"):
            browser.execute_script("arguments[0].firstChild.click()", column)
            assert column.get_attribute("aria-sort") == way
            values = browser.execute_script(f"{place}.dataset.value)", column)
            assert len(values) == 75
            given = [value for value in values if value != ""]
            assert values[: len(given)] == given
            if column.get_attribute("data-type") == "number":
                given = [float(value) for value in given]
                pairs = list(itertools.pairwise(given if way == "ascending" else given[::-1]))
                assert all(a <= b for a, b in pairs), column.text


def test_filters_leave_what_they_name(show):
    browser = show(small_report())
    shown = browser.find_element(By.ID, "shown")
    text = browser.find_element(By.NAME, "text")
    assert shown.text == "4 of 4 conditions"
    text.send_keys("GAIN_UP 1")
    assert names(browser) == ["gain_up 10"]
    assert shown.text == "1 of 4 conditions"
    browser.find_element(By.CSS_SELECTOR, "#filter [type=reset]").click()
    assert len(names(browser)) == 4
    for kind, expected in {
        "own": ["line 7, new lamp"],
        "simulated": ["gain_up 10", "gain_up 2"],
        "clean": ["clean"],
    }.items():
        Select(browser.find_element(By.NAME, "kind")).select_by_visible_text(kind)
        assert names(browser) == expected
    text.send_keys("lamp", Keys.ENTER)  # nothing is both; Enter does not leave the page
    assert names(browser) == []
    assert shown.text == "0 of 4 conditions"
    browser.find_element(By.CSS_SELECTOR, "#filter [type=reset]").click()
    Select(browser.find_element(By.NAME, "seen")).select_by_value("unknown")
    assert names(browser) == ["line 7, new lamp"]
    Select(browser.find_element(By.NAME, "seen")).select_by_value("")
    Select(browser.find_element(By.NAME, "state")).select_by_visible_text("drifted: recalibrate")
    assert names(browser) == ["gain_up 10", "line 7, new lamp"]


def test_controls_have_names_and_images_descriptions(show):
    browser = show(small_report())
    unnamed = """return [...document.querySelectorAll('input, select')].filter(e => !e.labels.length).length
        + [...document.querySelectorAll('img:not([alt])')].length
        + [...document.querySelectorAll('button')].filter(e => !e.textContent.trim()).length"""
    assert browser.execute_script(unnamed) == 0


def test_a_condition_links_to_its_histogram(show):
    browser = show(small_report())
    assert open_details(browser) == ["c0"]
    browser.find_element(By.LINK_TEXT, "gain_up 2").click()
    assert sorted(open_details(browser)) == ["c0", "c2"]
    toggle = browser.find_element(By.ID, "toggle")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", toggle)  # from under the navigation
    toggle.click()
    assert sorted(open_details(browser)) == ["c0", "c1", "c2", "c3"]
    toggle.click()
    assert open_details(browser) == []


def test_a_cell_of_the_heat_map_opens_its_condition_by_mouse_and_by_keyboard(show):
    browser = show(small_report())
    cell = browser.find_element(By.CSS_SELECTOR, '.heat a[href="#c2"]')
    cell.click()
    assert sorted(open_details(browser)) == ["c0", "c2"]
    assert browser.execute_script("return document.activeElement.parentElement.id") == "c2"
    panel = browser.find_element(By.ID, "c2")
    assert panel.find_element(By.CSS_SELECTOR, "svg.histogram").is_displayed()
    assert len(panel.find_elements(By.CSS_SELECTOR, ".threshold")) == 2
    captions = [caption.text for caption in panel.find_elements(By.TAG_NAME, "figcaption")]
    assert captions == ["a good part", "good/000.png 1.234 REVIEW", "crack/000.png 1.234 OK"]
    panel.find_element(By.TAG_NAME, "summary").click()
    assert open_details(browser) == ["c0"]
    cell.send_keys(Keys.ENTER)  # the address is the same as before
    assert sorted(open_details(browser)) == ["c0", "c2"]
    panel.find_element(By.LINK_TEXT, "Back to the heat map").click()
    assert browser.execute_script("return location.hash") == "#heatmap"


def test_the_command_is_copied_or_selected(show):
    browser = show(small_report())
    browser.find_element(By.ID, "copy").click()
    WebDriverWait(browser, 10).until(lambda b: b.find_element(By.ID, "copied").text in ("Copied", "Selected"))
    command = small_report()["verdict"]["command"]
    assert browser.execute_script("return getSelection().toString()").strip() == command


def test_on_a_phone_verdict_and_heat_map_are_the_first_screen(show):
    report = full_report(size=64, shown=1)
    report["conditions"] = [c for c in report["conditions"] if c["kind"] != "own" and c["severity"] in (None, 1, 3, 5)]
    browser = show(report, width=400, height=800)
    bottom = "return document.querySelector('.heat').getBoundingClientRect().bottom"
    assert browser.execute_script(bottom) <= 800
    assert browser.find_element(By.CSS_SELECTOR, ".verdict h2").is_displayed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("state", ["within limits", "not enough evidence", "missing defects", "drifted: recalibrate"])
def test_text_has_contrast(show, scheme, state):
    """WCAG AA, 4.5 to 1: every text against the colour behind it."""
    report = full_report(size=32, shown=1)
    report["verdict"]["state"] = state
    checked, low = show(report, scheme=scheme).execute_script(CONTRAST)
    assert checked > 300
    assert low == []


def hostile_report():
    report = small_report(title=HOSTILE[0], provenance={name: [name] for name in HOSTILE})
    report["verdict"] |= dict(zip(("found", "action", "command"), HOSTILE))
    words = ("what", "label", "sentence", "seen_note")
    report["conditions"] += [condition(name, kind="own", **dict.fromkeys(words, name)) for name in HOSTILE]
    report["conditions"] += [condition(name, kind="simulated", family=name, severity=1) for name in HOSTILE]
    report["conditions"][0] |= {"missed": [picture(name, decision=name) for name in HOSTILE]}
    report["artifact"] |= {name: name for name in HOSTILE} | {"file": HOSTILE[2]}
    return report


@pytest.mark.parametrize("report", [small_report(), hostile_report()], ids=["plain", "hostile"])
def test_the_console_stays_empty_and_nothing_is_fetched(show, report):
    browser = show(report)
    browser.execute_script("scrollTo(0, document.body.scrollHeight)")
    count = len(report["conditions"])
    assert browser.find_element(By.TAG_NAME, "h1").text == report["title"]
    assert browser.execute_script("return document.querySelectorAll('#conditions tbody tr').length") == count
    assert browser.execute_script("return document.scripts.length") == 1
    assert browser.execute_script("return document.querySelectorAll('img:not([src^=\"data:image/\"])').length") == 0
    assert errors(browser) == []
    asked = requests(browser)
    assert asked[0].startswith("file://")  # or the search finds nothing
    assert [url for url in asked[1:] if not url.startswith("data:")] == []


def test_an_injected_script_would_not_run(show):
    """The second line of defence: the content security policy names the one script."""
    browser = show(small_report())
    browser.execute_script("""const s = document.createElement('script'); s.textContent = 'window.ran = true';
        document.body.append(s); document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="ran = true">');""")
    assert browser.execute_script("return window.ran") is None
    assert any("Content Security Policy" in entry["message"] for entry in errors(browser))


@pytest.mark.parametrize("report", [full_report(size=64, shown=2), hostile_report()], ids=["full", "hostile"])
@pytest.mark.parametrize("width", [320, 390, 820, 1280])
def test_the_page_never_scrolls_sideways(show, width, report):
    browser = show(report, width=width)
    for _ in range(2):  # all histograms closed, then open
        inner, widest = browser.execute_script("return [innerWidth, document.documentElement.scrollWidth]")
        assert inner == width
        assert widest <= width
        browser.execute_script("document.getElementById('toggle').click()")
    table = "const s = document.querySelector('.tall'); s.scrollLeft = 1e6; return [s.scrollLeft, s.clientWidth]"
    moved, visible = browser.execute_script(table)
    assert visible <= width
    assert moved > 0 or width == 1280  # there narrow fonts may let it fit


def test_print_opens_everything_and_leaves_out_controls(show):
    browser = show(small_report())
    controls = browser.find_elements(By.CSS_SELECTOR, "nav, .controls, .controls *")
    assert all(control.is_displayed() for control in controls if control.tag_name != "option")
    media(browser, "print")
    WebDriverWait(browser, 10).until(lambda _: sorted(open_details(browser)) == ["c0", "c1", "c2", "c3"])
    assert not any(control.is_displayed() for control in controls)
    assert heading(browser, "AUROC").is_displayed()
    arrow = "return getComputedStyle(document.querySelector('th button'), '::after').content"
    assert browser.execute_script(arrow) == "none"
    media(browser, "")
    WebDriverWait(browser, 10).until(lambda _: open_details(browser) == ["c0"])
    # The command itself, which the page hears of through other events.
    browser.execute_script("""window.seen = [];
        for (const event of ['beforeprint', 'afterprint'])
            addEventListener(event, () => seen.push(document.querySelectorAll('details[open]').length));""")
    assert base64.b64decode(browser.print_page()).startswith(b"%PDF")
    assert browser.execute_script("return seen") == [4, 1]


def test_without_script_all_is_there_and_prints(show):
    browser = show(small_report())
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.refresh()
        assert len(names(browser)) == 4
        assert not browser.find_element(By.ID, "filter").is_displayed()
        drawn = "return [...document.querySelectorAll('svg.histogram')].map(svg => svg.checkVisibility())"
        assert browser.execute_script(drawn) == [True, False, False, False]
        media(browser, "print")
        assert browser.execute_script(drawn) == [True] * 4
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize(
    ("name", "width", "scheme"), [("desktop", 1280, "light"), ("phone", 390, "light"), ("dark", 1280, "dark")]
)
def test_it_can_be_looked_at(show, tmp_path, name, width, scheme):
    """Leaves pictures of the whole page in pytest's folder (`--basetemp`)."""
    browser = show(full_report(size=64, shown=4), width=width, scheme=scheme)
    photograph(browser, tmp_path / f"{name}.png", width=width)
    red = browser.execute_script("return getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]")
    assert (int(red) < 60) == (scheme == "dark")
