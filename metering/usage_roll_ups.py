"""Roll-ups of usage: sums by day and dimensions, kept by the housekeeper, never the only truth.

A record is in a roll-up or on the list of fresh ones, never both and never neither, at every
instant; whoever reads both reads everything once.
"""

from dataclasses import dataclass
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from database.queries import load_queries
from database.rows import typed_row
from tenants.ids import TenantId

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantClock:
    """A tenant and the time zone of its days."""

    tenant_id: TenantId
    time_zone: str


async def get_clock(conn: AsyncConnection, tenant_id: TenantId) -> str | None:
    """Read the time zone a tenant's roll-ups were made in; None when there are none yet."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["get_clock"], {"tenant_id": tenant_id})
        time_zone: str | None = await cursor.fetchone()
    return time_zone


async def wrong_clocks(conn: AsyncConnection) -> list[TenantClock]:
    """List tenants whose roll-ups are not there, or in another time zone than theirs."""
    async with conn.cursor(row_factory=typed_row(TenantClock)) as cursor:
        await cursor.execute(_QUERIES["list_wrong_clocks"])
        return await cursor.fetchall()


async def tenants_to_roll_up(conn: AsyncConnection) -> list[TenantId]:
    """List tenants with a clock that have fresh records."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["tenants_to_roll_up"])
        return await cursor.fetchall()


async def roll_up(conn: AsyncConnection, tenant_id: TenantId, *, limit: int) -> int:
    """Take fresh records of a tenant into its roll-ups; returns how many.

    The tenant's clock is locked: nobody makes its roll-ups anew meanwhile.
    """
    await conn.execute(_QUERIES["lock_clock"], {"tenant_id": tenant_id})
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["roll_up"], {"tenant_id": tenant_id, "limit": limit})
        count: int | None = await cursor.fetchone()
    return count or 0


async def roll_up_anew(conn: AsyncConnection, clock: TenantClock) -> None:
    """Make all of a tenant's roll-ups in its time zone.

    The clock is set first, which locks it: another process that rolls up this tenant waits, and
    then finds what this one has made.
    """
    tenant = {"tenant_id": clock.tenant_id, "time_zone": clock.time_zone}
    await conn.execute(_QUERIES["set_clock"], tenant)
    await conn.execute(_QUERIES["forget_days"], tenant)
    await conn.execute(_QUERIES["forget_fresh"], tenant)
    await conn.execute(_QUERIES["roll_up_all"], tenant)
