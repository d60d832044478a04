"""Energy that came after its image was charged appears in every report."""

import structlog

from database.pool import Pool, transaction
from metering.energy_amendments import ROUND_START, PartialUsage, amend, list_partial
from services.housekeeper.tenant_turns import tenant_turn

log = structlog.get_logger()

_RECORDS_PER_SWEEP = 200


class LateEnergy:
    """Goes round over what was charged without all of its energy, a part with each sweep."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._place = ROUND_START

    async def sweep(self) -> None:
        async with self._pool.connection() as connection:
            partial, self._place = await list_partial(
                connection, after=self._place, limit=_RECORDS_PER_SWEEP
            )
        for usage in partial:
            with tenant_turn(usage.tenant_id, duty="late_energy"):
                await self._amend(usage)

    async def _amend(self, usage: PartialUsage) -> None:
        async with transaction(self._pool) as connection:
            amended = await amend(connection, usage)
        if amended:
            log.info("energy_amended", tenant=usage.tenant_id, image=usage.image_id)
