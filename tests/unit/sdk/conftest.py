from collections.abc import AsyncIterator

import pytest

from tests.unit.sdk.small_server import SmallJobService, serve


@pytest.fixture
def service() -> SmallJobService:
    return SmallJobService()


@pytest.fixture
async def address(service: SmallJobService) -> AsyncIterator[str]:
    server, address = await serve(service)
    yield address
    await server.stop(None)
