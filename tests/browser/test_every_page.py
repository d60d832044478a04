"""What must hold on every page, in both themes: readable by everybody, on any screen."""

from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.browsing import Theme, log_in, visiting
from tests.browser.pages import OPERATORS_PAGES, TENANTS_PAGES, Shown, path_of
from tests.browser.running import Site

AXE: Final = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
TAGS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
PHONE_PIXELS: Final = 375
PAGE_BYTES_MAX: Final = 300_000


@cache
def axe_source() -> str:
    assert AXE.exists(), "`make test-browser` installs axe-core"
    return AXE.read_text()


def violations(page: Page) -> list[str]:
    """What axe-core finds against WCAG A and AA."""
    page.evaluate(axe_source())
    found: Any = page.evaluate(
        "tags => axe.run(document, {runOnly: {type: 'tag', values: tags}})",
        TAGS,
    )
    return [
        f"{rule['id']}: {node['target']} {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]


def complaints(page: Page, shown: Shown, *, theme: Theme) -> list[str]:
    """What is wrong with the page that is open, wide and on a phone."""
    found = violations(page)
    page.set_viewport_size({"width": PHONE_PIXELS, "height": 800})
    width: Any = page.evaluate("document.documentElement.scrollWidth")
    if width > PHONE_PIXELS:
        found.append(f"scrolls sideways on a phone: {width} px")
    if theme == "light":
        # The order of things is the same in the dark, and so is their size.
        found += violations(page)
    page.set_viewport_size({"width": 1440, "height": 900})
    return [f"{shown.name}: {one}" for one in found]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("who", ["tenant", "operator"])
def test_every_page_meets_wcag_aa_and_fits_a_phone(
    browser: Browser, site: Site, theme: Theme, who: str
) -> None:
    key = site.seeded.admin_key if who == "tenant" else site.seeded.operator_key
    found: list[str] = []
    with visiting(browser, site.url, theme=theme) as page:
        page.goto("/login")
        found += complaints(page, Shown(name="log-in", path="/login"), theme=theme)
        log_in(page, key)
        for shown in TENANTS_PAGES if who == "tenant" else OPERATORS_PAGES:
            page.goto(path_of(shown, site.seeded))
            found += complaints(page, shown, theme=theme)

    assert found == []


def test_the_first_page_is_small_with_everything_it_loads(browser: Browser, site: Site) -> None:
    with visiting(browser, site.url) as page:
        log_in(page, site.seeded.admin_key)
        page.goto("/", wait_until="load")
        # As sent, whether or not the browser had it; the stream that stays open is not told of.
        bytes_loaded: Any = page.evaluate(
            "['navigation', 'resource'].flatMap(kind => performance.getEntriesByType(kind))"
            ".reduce((sum, entry) => sum + entry.encodedBodySize, 0)"
        )

        assert 50_000 < bytes_loaded < PAGE_BYTES_MAX
