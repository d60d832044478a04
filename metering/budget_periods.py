"""The counters of budgets go on: when a budget's period becomes another, or its tenant's clock.

A budget has one counter that runs; ``running_budget_period`` in the database says which. Nothing
that happens to the budget or the clock gives a counter anew to what was counted already.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from database.queries import load_queries
from tenants.ids import TenantId

_QUERIES: Final = load_queries(__file__)


async def begin_other_period(conn: AsyncConnection, budget: Mapping[str, object]) -> None:
    """Let a budget count by another kind of period, from that period's begin on.

    Every job that it counted since then goes to the new counter. The caller has locked the budget.
    """
    await conn.execute(_QUERIES["lock_counters"], budget)
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["open_counter"], budget)
        period_start: datetime | None = await cursor.fetchone()
    counter = {**budget, "period_start": period_start}
    await conn.execute(_QUERIES["close_other_counters"], counter)
    await conn.execute(_QUERIES["move_jobs"], counter)


async def change_running_counters(
    conn: AsyncConnection, budget: Mapping[str, object], *, alert_percents: Sequence[int]
) -> None:
    """Give the counter that runs its budget's limit, and tell what share of it is used."""
    await conn.execute(_QUERIES["change_running_counters"], budget)
    await conn.execute(
        _QUERIES["alert_of_running_counters"], {**budget, "percents": list(alert_percents)}
    )


async def move_ends(
    conn: AsyncConnection, tenant_id: TenantId, *, old_time_zone: str, new_time_zone: str
) -> None:
    """Let the periods that run end at the same midnight of another clock."""
    await conn.execute(_QUERIES["lock_budgets_of_tenant"], {"tenant_id": tenant_id})
    await conn.execute(
        _QUERIES["move_ends"],
        {
            "tenant_id": tenant_id,
            "old_time_zone": old_time_zone,
            "new_time_zone": new_time_zone,
        },
    )
