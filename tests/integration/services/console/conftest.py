"""A console that serves, before a gateway that does."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.integration.fixture_types import Postgres
from tests.integration.services.console.serving import ServedConsole, served_console
from tests.integration.services.gateway.gateway_fixtures import (
    ServedGateway,
    Studio,
    running_gateway,
)


@pytest.fixture
async def gateway(postgres: Postgres, short_directory: Path) -> AsyncGenerator[ServedGateway]:
    async with running_gateway(postgres, short_directory) as running:
        yield running


@pytest.fixture
async def console(gateway: ServedGateway) -> AsyncGenerator[ServedConsole]:
    async with served_console(gateway.address) as serving:
        yield serving


@pytest.fixture
async def acme(gateway: ServedGateway) -> Studio:
    return await gateway.new_tenant()
