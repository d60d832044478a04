"""Pictures of every page into docs/images/console: `make screenshots`, then look at them."""

import io
import shutil
import tempfile
from pathlib import Path
from typing import Final

from PIL import Image
from playwright.sync_api import Browser, Page

from tests.browser.browsing import Theme, chromium, log_in, visiting
from tests.browser.pages import OPERATORS_PAGES, TENANTS_PAGES, Shown, path_of
from tests.browser.running import Site, running_site

TARGET: Final = Path(__file__).resolve().parents[2] / "docs" / "images" / "console"
_HEIGHT_MAX: Final = 1800
_COLOURS: Final = 256
_ON_A_PHONE: Final = {"overview", "job", "usage", "gpus"}
_WITH_PHOTOS: Final = {"job", "job-phone", "lightbox"}
_QUIET_MILLISECONDS: Final = 700


def main() -> None:
    """Draw them all."""
    TARGET.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="atelier-pictures-"))
    directory.chmod(0o755)
    try:
        with running_site(directory, size=256, steps=20) as site, chromium() as browser:
            for theme in ("light", "dark"):
                _walk(browser, site, theme)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _walk(browser: Browser, site: Site, theme: Theme) -> None:
    for key, shown_pages in (
        (site.seeded.admin_key, TENANTS_PAGES),
        (site.seeded.operator_key, OPERATORS_PAGES),
    ):
        with visiting(browser, site.url, theme=theme) as page:
            if shown_pages is TENANTS_PAGES:
                page.goto("/login")
                _keep(page, "log-in", theme)
            log_in(page, key)
            for shown in shown_pages:
                _picture(page, site, shown, theme)


def _picture(page: Page, site: Site, shown: Shown, theme: Theme) -> None:
    page.goto(path_of(shown, site.seeded), wait_until="load")
    _keep(page, shown.name, theme)
    if shown.name in _ON_A_PHONE and theme == "light":
        page.set_viewport_size({"width": 375, "height": 800})
        _keep(page, f"{shown.name}-phone", theme)
        page.set_viewport_size({"width": 1440, "height": 900})
    if shown.name == "job" and theme == "dark":
        page.locator(".gallery a").first.click()
        page.locator("dialog img").wait_for()
        _keep(page, "lightbox", theme, whole=False)
        page.keyboard.press("Escape")


def _keep(page: Page, name: str, theme: Theme, *, whole: bool = True) -> None:
    """Write a picture with few colours: pages are flat, and the repository stays small."""
    # Not a condition of a test: what is drawn late should be in the picture.
    page.wait_for_timeout(_QUIET_MILLISECONDS)
    drawn = Image.open(io.BytesIO(page.screenshot(full_page=whole)))
    cut = drawn.crop((0, 0, drawn.width, min(drawn.height, _HEIGHT_MAX))).convert("RGB")
    few = cut.quantize(_COLOURS)
    if name in _WITH_PHOTOS:
        # Else they would get edges that the checkpoint did not draw.
        few = cut.quantize(palette=few, dither=Image.Dither.FLOYDSTEINBERG)
    few.save(TARGET / f"{name}-{theme}.png", optimize=True)


if __name__ == "__main__":
    main()
