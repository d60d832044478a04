"""Who waits for an interactive picture: a time that streaming gateways renew, for all replicas.

A job without a row was never attended and is nobody's concern here: a batch is not waited for.
"""

from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from database.queries import load_queries
from tenants.ids import JobId, TenantId

_QUERIES: Final = load_queries(__file__)


async def attend(conn: AsyncConnection, *, tenant_id: TenantId, job_id: JobId) -> None:
    """Note that somebody listens now, on the database's clock."""
    await conn.execute(_QUERIES["attend"], {"tenant_id": tenant_id, "job_id": job_id})


async def unattended_jobs(conn: AsyncConnection, *, seconds: float, limit: int) -> list[JobId]:
    """List jobs that go on although nobody has listened to them for so long."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["unattended_jobs"], {"seconds": seconds, "limit": limit})
        jobs: list[JobId] = await cursor.fetchall()
    return jobs


async def forget_old_attendance(conn: AsyncConnection, *, seconds: float) -> None:
    """Drop the rows of jobs that have ended and that nobody listens to any more."""
    await conn.execute(_QUERIES["forget_old_attendance"], {"seconds": seconds})
