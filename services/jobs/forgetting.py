"""What a tenant's people wrote and what was drawn for them goes; skeletons of jobs stay.

The ledger refers to images, and its invariants read their states and the counters of their jobs: so
rows of ids, states, counts and sizes stay, without a word. Everything is done by what is still
there, in steps that may be repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from database.queries import load_queries
from database.rows import typed_row
from metering.forgetting import forget_words_of_usage
from tenants.ids import ImageId, JobId, TenantId

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPicture:
    """A picture in the object store."""

    image_id: ImageId
    object_path: str


async def kept_pictures(
    conn: AsyncConnection, tenant_id: TenantId, *, limit: int
) -> list[KeptPicture]:
    """List pictures of a tenant; those that the recorder has yet to store are not ready to go."""
    async with conn.cursor(row_factory=typed_row(KeptPicture)) as cursor:
        await cursor.execute(_QUERIES["kept_pictures"], {"tenant_id": tenant_id, "limit": limit})
        return await cursor.fetchall()


async def forget_pictures(
    conn: AsyncConnection, tenant_id: TenantId, pictures: Sequence[KeptPicture]
) -> None:
    """Delete the rows of pictures whose objects are gone."""
    await conn.execute(
        _QUERIES["forget_pictures"],
        {"tenant_id": tenant_id, "image_ids": [picture.image_id for picture in pictures]},
    )


async def forget_jobs(conn: AsyncConnection, tenant_id: TenantId, *, limit: int) -> int:
    """Take the words of some jobs, their images, their usage and their events, all in one.

    Returns:
        How many jobs; 0 when none is left that has any.
    """
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["choose_jobs"], {"tenant_id": tenant_id, "limit": limit})
        job_ids: list[JobId] = await cursor.fetchall()
    if not job_ids:
        return 0
    chosen = {"tenant_id": tenant_id, "job_ids": job_ids}
    await conn.execute(_QUERIES["forget_images"], chosen)
    await forget_words_of_usage(conn, tenant_id, job_ids)
    await conn.execute(_QUERIES["forget_events"], chosen)
    await conn.execute(_QUERIES["forget_progress"], chosen)
    await conn.execute(_QUERIES["forget_attendance"], chosen)
    await conn.execute(_QUERIES["mark_jobs"], chosen)
    return len(job_ids)


async def forget_requests(conn: AsyncConnection, tenant_id: TenantId, *, limit: int) -> int:
    """Delete answers to calls that were to happen once; returns how many."""
    cursor = await conn.execute(
        _QUERIES["forget_requests"], {"tenant_id": tenant_id, "limit": limit}
    )
    return cursor.rowcount
