"""Sums that must always hold are checked again and again; a violation is an error in the log."""

import structlog

from database.pool import Pool
from metering.invariants import check_invariants

log = structlog.get_logger()


class InvariantWatch:
    """Checks every invariant; each looks at one instant and may run beside any other work."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def check(self) -> None:
        async with self._pool.connection() as connection:
            violations = await check_invariants(connection)
        for name, count in violations.items():
            if count:
                log.error("invariant_violated", invariant=name, count=count)
