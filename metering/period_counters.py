"""The counters of a billing period in the database, by which tiers of quantity are reckoned."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from metering.period_counts import PeriodCounts
from metering.price_document import Component
from tenants.ids import TenantId

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counter:
    component: Component
    model: str
    quantity: int


async def count_up(
    conn: AsyncConnection, *, tenant_id: TenantId, model: str, consumed: Mapping[Component, int]
) -> PeriodCounts:
    """Count what an image consumed in the period of this transaction's time.

    Call it with the tenant's wallet locked, which lets its captures pass one by one.

    Returns:
        What the period had counted before.
    """
    async with conn.cursor(row_factory=typed_row(_Counter)) as cursor:
        await cursor.execute(
            _QUERIES["count_up"],
            {
                "tenant_id": tenant_id,
                "model": model,
                "components": list(consumed),
                "quantities": list(consumed.values()),
            },
        )
        return _counts(await cursor.fetchall())


async def read_counts(
    conn: AsyncConnection, *, tenant_id: TenantId, period_start: datetime
) -> PeriodCounts:
    """Read what a period, named by its first instant, has counted so far."""
    async with conn.cursor(row_factory=typed_row(_Counter)) as cursor:
        await cursor.execute(
            _QUERIES["read_counts"], {"tenant_id": tenant_id, "period_start": period_start}
        )
        return _counts(await cursor.fetchall())


async def move_starts(
    conn: AsyncConnection, tenant_id: TenantId, *, old_time_zone: str, new_time_zone: str
) -> None:
    """Let every month of a tenant begin by another clock; the caller has locked its accounts."""
    await conn.execute(
        _QUERIES["move_starts"],
        {
            "tenant_id": tenant_id,
            "old_time_zone": old_time_zone,
            "new_time_zone": new_time_zone,
        },
    )


def _counts(rows: list[_Counter]) -> PeriodCounts:
    return PeriodCounts(counts={(row.component, row.model): row.quantity for row in rows})
