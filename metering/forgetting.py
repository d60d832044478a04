"""What a person wrote beside usage and budgets goes with its tenant; figures stay.

The tables' triggers let this pass for a tenant that is leaving and for nobody else, and let nothing
of a record change but its words.
"""

from collections.abc import Sequence
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from database.queries import load_queries
from metering.usage_roll_ups import TenantClock, get_clock, roll_up_anew
from tenants.ids import JobId, TenantId

_QUERIES: Final = load_queries(__file__)


async def forget_words_of_usage(
    conn: AsyncConnection, tenant_id: TenantId, job_ids: Sequence[JobId]
) -> None:
    """Empty labels and projects of the usage of some jobs."""
    await conn.execute(
        _QUERIES["forget_words_of_usage"], {"tenant_id": tenant_id, "job_ids": list(job_ids)}
    )


async def forget_words_of_roll_ups(conn: AsyncConnection, tenant_id: TenantId) -> None:
    """Sum a tenant's usage anew, where its sums still tell words that its usage has lost."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["has_words_in_roll_ups"], {"tenant_id": tenant_id})
        has_words: bool | None = await cursor.fetchone()
    time_zone = await get_clock(conn, tenant_id)
    if has_words and time_zone is not None:
        await roll_up_anew(conn, TenantClock(tenant_id=tenant_id, time_zone=time_zone))


async def forget_budgets(conn: AsyncConnection, tenant_id: TenantId) -> None:
    """Delete a tenant's budgets and their counters, all at once: in parts they would not add up."""
    tenant = {"tenant_id": tenant_id}
    await conn.execute(_QUERIES["forget_job_budgets"], tenant)
    await conn.execute(_QUERIES["forget_budget_alerts"], tenant)
    await conn.execute(_QUERIES["forget_budget_periods"], tenant)
    await conn.execute(_QUERIES["forget_budgets"], tenant)
