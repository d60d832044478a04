"""What a tenant's workers sent that was not taken, counted by reason for the operator's eyes.

Counting costs no transaction for each refusal: the counts are kept here and written once a second,
so that a worker that lies as fast as it can writes no more than one that is honest.
"""

import asyncio
from collections import Counter
from enum import StrEnum
from typing import Final

import structlog

from database.pool import UNREACHABLE_ERRORS, Pool, tenant_transaction
from database.queries import load_queries
from tenants.ids import TenantId

_QUERIES: Final = load_queries(__file__)
_WRITE_SECONDS: Final = 1.0

log = structlog.get_logger()


class RefusalReason(StrEnum):
    """Why nothing came of it; stable names."""

    # A token for which there was no image: a surplus, forged or repeated one.
    EMPTY_CLAIM = "EMPTY_CLAIM"
    # A message in the queue that was no token, as the worker says.
    GARBAGE_TOKEN = "GARBAGE_TOKEN"  # noqa: S105 - a reason, no password
    MESSAGE_INVALID = "MESSAGE_INVALID"
    SESSION_UNKNOWN = "SESSION_UNKNOWN"
    # Of an attempt that is not the worker's: lost before, another's, or never given.
    ATTEMPT_REFUSED = "ATTEMPT_REFUSED"
    PICTURE_DAMAGED = "PICTURE_DAMAGED"
    PICTURE_INVALID = "PICTURE_INVALID"


class Refusals:
    """Counts that wait to be written."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._counts: Counter[tuple[TenantId, RefusalReason]] = Counter()
        # Of all tenants, since the start of this process.
        self.totals: Counter[RefusalReason] = Counter(dict.fromkeys(RefusalReason, 0))

    def note(self, tenant_id: TenantId, reason: RefusalReason, *, count: int = 1) -> None:
        """Count what was not taken."""
        self._counts[tenant_id, reason] += count
        self.totals[reason] += count

    async def run(self) -> None:
        """Write each second; runs until it is cancelled."""
        while True:
            await asyncio.sleep(_WRITE_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Write what waits; what cannot be written waits on."""
        for tenant_id in {tenant_id for tenant_id, _ in self._counts}:
            waiting = {key: n for key, n in self._counts.items() if key[0] == tenant_id}
            try:
                await self._write(tenant_id, {reason: n for (_, reason), n in waiting.items()})
            except UNREACHABLE_ERRORS as error:
                log.warning("refusals_not_written", reason=type(error).__name__)
                return
            # More may have come meanwhile.
            for key, count in waiting.items():
                self._counts[key] -= count
        self._counts = +self._counts

    async def _write(self, tenant_id: TenantId, counts: dict[RefusalReason, int]) -> None:
        async with tenant_transaction(self._pool, tenant_id) as conn:
            await conn.execute(
                _QUERIES["add_refusals"],
                {
                    "tenant_id": tenant_id,
                    "reasons": [str(reason) for reason in counts],
                    "counts": list(counts.values()),
                },
            )
