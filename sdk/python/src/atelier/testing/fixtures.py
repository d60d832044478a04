"""Fixtures for pytest: `pytest_plugins = ["atelier.testing.fixtures"]` in your `conftest.py`.

One installation serves a whole run; it is started when the first test asks for it.
"""

from collections.abc import Generator

import pytest

from atelier.client import Client
from atelier.testing.installation import LocalInstallation, local_installation
from atelier.testing.studio import Studio


@pytest.fixture(scope="session")
def atelier_installation() -> Generator[LocalInstallation]:
    """A real installation with the model that ships; gone after the run."""
    with local_installation() as installation:
        yield installation


@pytest.fixture(scope="session")
def atelier_studio(atelier_installation: LocalInstallation) -> Studio:
    """A studio with a price, credit and an admin's key."""
    return atelier_installation.open_studio()


@pytest.fixture
def atelier_client(atelier_studio: Studio) -> Generator[Client]:
    """A client of that studio."""
    with atelier_studio.client() as client:
        yield client
