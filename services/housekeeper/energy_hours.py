"""The energy of each GPU and hour is stored as it stands, until it is final and sealed."""

import structlog

from database.pool import Pool, transaction
from metering.energy_hours import store_open_hours

log = structlog.get_logger()

# A busy hour is some ten thousand segments; what is left over comes first in the next round.
_HOURS_PER_SWEEP = 50


class EnergyHours:
    """Stores every hour that is not final; a residual is an error in the log."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def sweep(self) -> None:
        async with transaction(self._pool) as connection:
            hours = await store_open_hours(connection, hours_max=_HOURS_PER_SWEEP)
        for hour in hours:
            if hour.residual_millijoules:
                log.error(
                    "energy_residual",
                    gpu=hour.gpu_id,
                    hour=hour.hour_start_time.isoformat(),
                    millijoules=hour.residual_millijoules,
                )
            elif hour.is_final:
                log.info(
                    "energy_hour_sealed",
                    gpu=hour.gpu_id,
                    hour=hour.hour_start_time.isoformat(),
                    counter_millijoules=hour.counter_millijoules,
                )
