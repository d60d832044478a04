"""Every test here begins with a tenant of long ago."""

import pytest
from psycopg import AsyncConnection

from tests.integration.fixture_types import Become
from tests.integration.metering.finalized.office import long_open_shop
from tests.integration.metering.shop import Shop


@pytest.fixture
async def shop(connection: AsyncConnection, become: Become) -> Shop:
    """A tenant of long ago who pays afterwards: 3 EUR of credit, the rest below zero."""
    return await long_open_shop(connection, become, tenant_id="acme-of-states")
