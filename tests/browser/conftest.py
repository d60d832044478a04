"""One installation and one browser for all of these tests: they take long to come up."""

import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.browsing import chromium
from tests.browser.running import Site, running_site


@pytest.fixture(scope="session")
def site() -> Generator[Site]:
    directory = Path(tempfile.mkdtemp(prefix="atelier-browser-"))
    directory.chmod(0o755)
    try:
        with running_site(directory, size=128, steps=4) as running:
            yield running
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def browser() -> Generator[Browser]:
    with chromium() as running:
        yield running
