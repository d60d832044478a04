"""One gateway for each test, on a free port."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.integration.fixture_types import Postgres
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
async def acme(gateway: ServedGateway) -> Studio:
    return await gateway.new_tenant()


@pytest.fixture
async def zeta(gateway: ServedGateway) -> Studio:
    return await gateway.new_tenant()
