"""What jobs cost so far."""

from collections.abc import Sequence
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from tenants.ids import JobId, TenantId

_QUERIES: Final = load_queries(__file__)


async def prices_of_jobs(
    conn: AsyncConnection, *, tenant_id: TenantId, job_ids: Sequence[JobId]
) -> dict[JobId, int]:
    """Sum what some jobs' images were charged, in nanos; a job without charges is left out."""
    cursor = await conn.execute(
        _QUERIES["prices_of_jobs"], {"tenant_id": tenant_id, "job_ids": list(job_ids)}
    )
    return {JobId(job_id): price_nanos for job_id, price_nanos in await cursor.fetchall()}
