"""One gateway for each test, on a free port."""

from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import pytest

from tests.integration.fixture_types import Postgres
from tests.integration.services.gateway.gateway_fixtures import (
    ServedGateway,
    Studio,
    running_gateway,
)
from tests.integration.services.gateway.identity_provider import (
    IdentityProvider,
    running_provider,
)
from tests.integration.services.gateway.trusting_gateway import Trusting, trusting


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


@pytest.fixture
def provider(tmp_path: Path) -> Generator[IdentityProvider]:
    with running_provider(tmp_path) as running:
        yield running


@pytest.fixture
async def trusted(
    postgres: Postgres, short_directory: Path, provider: IdentityProvider
) -> AsyncGenerator[Trusting]:
    async with trusting(postgres, short_directory, provider) as running:
        yield running
