"""A studio whose broker hangs takes nobody's place at the gateway."""

from pathlib import Path

import pytest

from services.dispatch.token_publisher import queue_length
from services.gateway.token_dispatch import TokenDispatch
from services.transport.broker_places import BrokerPlaces
from tenants.ids import TenantId
from tests.integration.brokers import running_broker
from tests.integration.installation import eventually, make_tenant_directory

pytestmark = pytest.mark.integration

ACME, ZETA = TenantId("acme"), TenantId("zeta")
# Far more than there are threads.
CALLS = 200


async def test_jobs_beside_a_hanging_broker_keep_no_neighbours_tokens_back(
    short_directory: Path,
) -> None:
    for tenant_id in (ACME, ZETA):
        run = make_tenant_directory(short_directory, tenant_id)
    brokers = BrokerPlaces(run=run)
    dispatch = TokenDispatch(brokers)

    async def tokens() -> int | None:
        return queue_length(brokers, tenant_id=ZETA, model="mini") or None

    with running_broker(run, ACME) as hanging, running_broker(run, ZETA):
        hanging.client_pause(60_000)  # pyright: ignore[reportUnknownMemberType] - untyped **kwargs
        for _ in range(CALLS):
            dispatch.publish_soon(ACME, {"mini": 1})
        dispatch.publish_soon(ZETA, {"mini": 3})

        assert await eventually(tokens, what="the neighbour's tokens") == 3
        await dispatch.finish()


async def test_calls_that_come_while_a_broker_is_busy_lose_no_token(short_directory: Path) -> None:
    run = make_tenant_directory(short_directory, ACME)
    brokers = BrokerPlaces(run=run)
    dispatch = TokenDispatch(brokers)

    with running_broker(run, ACME):
        for _ in range(CALLS):
            dispatch.publish_soon(ACME, {"mini": 1, "large": 2})
        await dispatch.finish()

        lengths = [queue_length(brokers, tenant_id=ACME, model=name) for name in ("mini", "large")]
    assert lengths == [CALLS, 2 * CALLS]
