"""Usage is summed by day, so that reports over a year answer at once."""

import structlog

from database.pool import Pool, transaction
from metering.usage_roll_ups import roll_up, roll_up_anew, wrong_clocks

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
            async with transaction(self._pool) as connection:
                await roll_up_anew(connection, clock)
            log.info("usage_rolled_up_anew", tenant=clock.tenant_id, time_zone=clock.time_zone)
        count = _RECORDS_PER_STEP
        while count == _RECORDS_PER_STEP:
            async with transaction(self._pool) as connection:
                count = await roll_up(connection, limit=_RECORDS_PER_STEP)
