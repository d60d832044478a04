"""How much of a tenant's work is open, queued and in flight together: what its workers follow."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from database.pool import Pool
from services.fleet.backlog import BacklogEstimate
from services.fleet.fleet_store import BacklogRow, read_backlog, read_speeds

# However many ask, PostgreSQL is asked once in this time.
_FRESH_SECONDS: Final = 1.0
_MEASURE_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Images that wait or are being drawn, and about how long a GPU will take for them."""

    images: int = 0
    gpu_seconds: float = 0.0


class OpenWork:
    """Reads the backlog; answers within a second of the last reading come from it."""

    def __init__(
        self,
        pool: Pool,
        estimate: BacklogEstimate,
        *,
        monotonic_seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._estimate = estimate
        self._monotonic_seconds = monotonic_seconds
        self._backlog: Sequence[BacklogRow] = ()
        self._read_due = self._measure_due = float("-inf")
        self._reading = asyncio.Lock()

    async def of(self, tenant_id: str, *, model: str | None = None) -> Open:
        """Return what is open of a tenant; of one model, or of all.

        Raises:
            UNREACHABLE_ERRORS: PostgreSQL does not answer.
        """
        rows = [
            row
            for row in await self._fresh()
            if row.tenant_id == tenant_id and model in {None, row.model}
        ]
        seconds = self._estimate.seconds_by_tenant(rows).get(tenant_id, {})
        return Open(
            images=sum(row.queued_count + row.running_count for row in rows),
            gpu_seconds=sum(seconds.values()),
        )

    async def _fresh(self) -> Sequence[BacklogRow]:
        async with self._reading:
            now = self._monotonic_seconds()
            if now >= self._read_due:
                async with self._pool.connection() as connection:
                    if now >= self._measure_due:
                        self._estimate.speeds = await read_speeds(connection)
                        self._measure_due = now + _MEASURE_SECONDS
                    self._backlog = await read_backlog(connection)
                self._read_due = now + _FRESH_SECONDS
            return self._backlog
