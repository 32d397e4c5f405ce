"""The page of a fit in Chromium: ticking bad images composes the command; nothing is fetched, nothing runs."""

import pytest
from chromium import CONTRAST, errors, open_page, photograph, requests
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait
from shift_report import photograph as picture_of_a_part

from gnl_jax.detection.options import FitOptions
from gnl_jax.report.fit_page import TEMPLATE, _rates
from gnl_jax.report.html import template
from gnl_jax.report.schema import shown
from gnl_jax.text import shell_word

NAMES = (
    "a b.png",
    '"><img src=x onerror=alert(1)>.png',
    "</script><script>alert(1)</script>.png",
    "\x1b[31m\u202e'.png",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Four images of parts, one with a defect."""
    unusual = [
        {
            "name": name,
            "exclude": shell_word(f"--exclude={name}"),
            "score": f"{5 - i}",
            "use": "learned from",
            "image": picture_of_a_part(seed=i, aspect=1.5, defect=i == 0),
            "overlay": picture_of_a_part(seed=i, aspect=1.5, defect=i == 0, heat=True),
        }
        for i, name in enumerate(NAMES)
    ]
    report = {
        "title": "Fit of washers.gnl",
        "found": ["found 60 images: 300x200; RGB; brightness 80 to 140 of 255, median 110", *NAMES],
        "lists": {"Copies, left out": [f"{name} of b.png" for name in NAMES]},
        "unusual": unusual,
        "images": 60,
        "command": "gnl-jax fit good --out washers.gnl",
        "following": "gnl-jax shift washers.gnl --good GOOD --bad BAD",
        "rates": _rates(60, FitOptions()),
    }
    path = tmp_path_factory.mktemp("page") / "washers.gnl.fit.html"
    path.write_text(template(TEMPLATE).render(**shown(report)))
    return path


def test_ticking_composes_the_command(browser, page):
    open_page(browser, page)
    command = browser.find_element(By.ID, "command")
    boxes = browser.find_elements(By.CSS_SELECTOR, "#unusual input")
    assert command.text == "gnl-jax fit good --out washers.gnl"
    boxes[0].send_keys(Keys.SPACE)
    browser.execute_script("arguments[0].click()", boxes[3])
    escaped = r"$'--exclude=\x1b[31m\xe2\x80\xae\x27.png'"
    assert command.text == f"gnl-jax fit good --out washers.gnl '--exclude=a b.png' {escaped}"
    assert browser.find_element(By.ID, "count").text == "2 left out"
    browser.find_element(By.ID, "copy").click()
    WebDriverWait(browser, 10).until(lambda b: b.find_element(By.ID, "copied").text in ("Copied", "Selected"))
    assert browser.execute_script("return getSelection().toString()").strip() == command.text
    boxes[0].send_keys(Keys.SPACE)
    assert command.text == f"gnl-jax fit good --out washers.gnl {escaped}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 900, 400])
def test_it_fits_and_nothing_is_fetched(browser, page, tmp_path, width, scheme):
    """Leaves pictures of the page in pytest's folder (`--basetemp`)."""
    open_page(browser, page, width=width, scheme=scheme)
    photograph(browser, tmp_path / f"fit-{width}-{scheme}.png", width=width)
    inner, widest = browser.execute_script("return [innerWidth, document.documentElement.scrollWidth]")
    assert widest <= inner == width
    checked, low = browser.execute_script(CONTRAST)
    assert checked > 40
    assert low == []
    assert browser.execute_script("return document.scripts.length") == 1
    assert errors(browser) == []
    assert [url for url in requests(browser) if not url.startswith("data:")] == [page.as_uri()]
