"""Sums that must always hold are checked again and again; a violation is an error in the log."""

from collections.abc import Mapping
from datetime import UTC, date, datetime

import structlog

from database.pool import Connection, Pool
from metering.invariants import check_changed, check_invariants, database_time

log = structlog.get_logger()


class InvariantWatch:
    """Looks at everything first and once in each night (UTC), in between at what changed.

    Each query looks at one instant and may run beside any other work. A look that fails counts as
    none: the next one covers its time.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._last_look_time: datetime | None = None
        self._last_whole_date: date | None = None
        # By what was looked at: what the nightly look found is not mended because nothing changed.
        self.found: dict[str, Mapping[str, int]] = {}

    async def check(self) -> None:
        """Look once."""
        async with self._pool.connection() as connection:
            look_time = await database_time(connection)
            violations = await self._violations(connection, look_time)
        self._last_look_time = look_time
        for name, count in violations.items():
            if count:
                log.error("invariant_violated", invariant=name, count=count)

    async def _violations(self, connection: Connection, look_time: datetime) -> Mapping[str, int]:
        since, today = self._last_look_time, look_time.astimezone(UTC).date()
        if since is not None and today == self._last_whole_date:
            violations = await check_changed(connection, since=since)
            self.found["changed"] = violations
            return violations
        violations = await check_invariants(connection)
        self.found["all"] = violations
        self._last_whole_date = today
        log.info("all_invariants_checked", invariants=len(violations))
        return violations
