"""A browser that is Debian's Chromium, and what the tests do with it again and again."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

CHROMIUM: Final = "/usr/bin/chromium"
PATIENCE_MILLISECONDS: Final = 60_000
_OPTIONS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
Theme = Literal["light", "dark"]


@contextmanager
def chromium() -> Generator[Browser]:
    if shutil.which(CHROMIUM) is None:
        pytest.fail(f"{CHROMIUM} is not here: `make test-browser` says how to get it")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_OPTIONS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visiting(
    browser: Browser, base_url: str, *, width: int = 1440, theme: Theme = "light"
) -> Generator[Page]:
    """A window of its own, with its own cookies; an error on a page fails whoever looks."""
    context: BrowserContext = browser.new_context(
        base_url=base_url,
        viewport={"width": width, "height": 900},
        color_scheme=theme,
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE_MILLISECONDS)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda said: (
            complaints.append(said.text) if "Content Security Policy" in said.text else None
        ),
    )
    try:
        yield page
        assert complaints == []
    finally:
        context.close()


def log_in(page: Page, api_key: str) -> None:
    page.goto("/login")
    page.get_by_label("API key").fill(api_key)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(lambda url: "/login" not in url)
