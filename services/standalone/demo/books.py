"""What the operator's books say: captures in the ledger, joules against the counters."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from database.pool import open_pool
from database.queries import load_queries
from metering.energy_hours import HourReconciliation, reconciliations

queries = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Read at the end of the demo."""

    # Tenant → what was captured of its holds.
    captured_nanos: dict[str, int]
    energy: Sequence[HourReconciliation]


def read_books(operator_database_url: str, tenant_ids: Sequence[str]) -> Books:
    """Read the books as the operator."""
    return asyncio.run(_read(operator_database_url, tenant_ids))


async def _read(url: str, tenant_ids: Sequence[str]) -> Books:
    now = datetime.now(UTC)
    async with open_pool(url, size_max=1) as pool, pool.connection() as connection:
        captured: dict[str, int] = {}
        for tenant_id in tenant_ids:
            row = await (await connection.execute(queries["sum_captures"], [tenant_id])).fetchone()
            assert row is not None, "a sum gives a row"
            captured[tenant_id] = row[0]
        # The demo takes minutes; the hour before is asked for because it may just have ended.
        energy = await reconciliations(
            connection, since_hour=now - timedelta(hours=2), until_hour=now + timedelta(hours=1)
        )
    return Books(captured_nanos=captured, energy=energy)
