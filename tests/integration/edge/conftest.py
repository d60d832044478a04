"""One gateway and one edge for each test: an edge remembers addresses."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.integration.edge.running_edge import Edge, running_edge
from tests.integration.fixture_types import Postgres


@pytest.fixture
async def edge(
    postgres: Postgres, short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Edge]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(short_directory))
    monkeypatch.delenv("ATELIER_API_KEY", raising=False)
    async with running_edge(postgres, short_directory) as running:
        yield running
