"""The site that `make docs` built, in Chromium from disk: every page on a phone, and its search."""

from pathlib import Path

import pytest
from chromium import errors, open_page, requests
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

SITE = Path(__file__).parents[2] / "build/docs"
PAGES = sorted(page for page in SITE.rglob("*.html") if "_static" not in page.parts)
WIDER = "const w = document.documentElement; return w.scrollWidth - w.clientWidth"

pytestmark = pytest.mark.skipif(not PAGES, reason="needs the site: make docs")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(SITE).as_posix())
def test_a_page_is_readable_on_a_phone(browser, page):
    open_page(browser, page, width=400)
    assert browser.execute_script(WIDER) <= 0
    assert errors(browser) == []
    assert [url for url in requests(browser) if not url.startswith(("file:", "data:"))] == []
    assert page.name == "search.html" or browser.find_element(By.TAG_NAME, "h1").text


def test_the_search_finds_a_page_without_a_server(browser):
    open_page(browser, SITE / "search.html")
    browser.get((SITE / "search.html").as_uri() + "?q=recalibrate")
    page = "#search-results li a[href*='howto/recalibrate.html']"  # results come one by one
    WebDriverWait(browser, 30).until(lambda b: b.find_elements(By.CSS_SELECTOR, page))
    assert errors(browser) == []
