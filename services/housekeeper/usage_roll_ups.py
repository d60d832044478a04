"""Usage is summed by day, so that reports over a year answer at once."""

import structlog

from database.pool import Pool, transaction
from metering.usage_roll_ups import (
    TenantClock,
    roll_up,
    roll_up_anew,
    tenants_to_roll_up,
    wrong_clocks,
)
from services.housekeeper.tenant_turns import tenant_turn
from tenants.ids import TenantId

log = structlog.get_logger()

_RECORDS_PER_STEP = 5_000


class UsageRollUps:
    """Takes fresh usage into the sums; makes them anew when a tenant's clock has changed."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def sweep(self) -> None:
        async with self._pool.connection() as connection:
            clocks = await wrong_clocks(connection)
        for clock in clocks:
            with tenant_turn(clock.tenant_id, duty="usage_roll_ups"):
                await self._roll_up_anew(clock)
        async with self._pool.connection() as connection:
            tenants = await tenants_to_roll_up(connection)
        for tenant_id in tenants:
            with tenant_turn(tenant_id, duty="usage_roll_ups"):
                await self._roll_up(tenant_id)

    async def _roll_up_anew(self, clock: TenantClock) -> None:
        async with transaction(self._pool) as connection:
            await roll_up_anew(connection, clock)
        log.info("usage_rolled_up_anew", tenant=clock.tenant_id, time_zone=clock.time_zone)

    async def _roll_up(self, tenant_id: TenantId) -> None:
        count = _RECORDS_PER_STEP
        while count == _RECORDS_PER_STEP:
            async with transaction(self._pool) as connection:
                count = await roll_up(connection, tenant_id, limit=_RECORDS_PER_STEP)
