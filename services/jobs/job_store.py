"""Jobs and their images: accepted with their holds in one transaction, read back, watched."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import scalar_row
from psycopg.types.json import Jsonb

from database.queries import load_queries
from database.rows import typed_row
from metering import holds
from metering.price_document import Tier
from services.jobs.image_states import ImageState, JobState
from services.jobs.job_moves import tell_workers
from services.jobs.records import Image, ImageProgress, Job, JobEvent, NewImage, NewJob
from tenants.ids import ImageId, JobId, TenantId, new_resource_id

_QUERIES: Final = load_queries(__file__)


async def create_job(conn: AsyncConnection, job: NewJob) -> Job:
    """Accept a job: its row, its images, a hold for each image, its first event.

    Raises:
        InsufficientBalanceError: the wallet cannot carry the holds; roll the transaction back.
        UnknownAccountError: the tenant has no wallet in the price's currency.
    """
    job_id = JobId(new_resource_id())
    images = {ImageId(new_resource_id()): image for image in job.images}
    created = await _insert_job(conn, job_id, job)
    await _insert_images(conn, job_id, job, images)
    if job.tier is Tier.INTERACTIVE:
        await tell_workers(conn, job.tenant_id)
    # The wallet comes last: its row is the one that all of a tenant's transactions wait for.
    await _hold(conn, job_id, job, images)
    return created


async def count_queued_images(conn: AsyncConnection, tenant_id: TenantId) -> int:
    """Count a tenant's images that are queued; what its queue quota bounds."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["count_queued_images"], {"tenant_id": tenant_id})
        count: int | None = await cursor.fetchone()
    return count or 0


async def get_job(conn: AsyncConnection, *, tenant_id: TenantId, job_id: JobId) -> Job | None:
    """Find a tenant's job."""
    async with conn.cursor(row_factory=typed_row(Job)) as cursor:
        await cursor.execute(_QUERIES["get_job"], {"tenant_id": tenant_id, "job_id": job_id})
        return await cursor.fetchone()


async def list_jobs(
    conn: AsyncConnection,
    *,
    tenant_id: TenantId,
    limit: int,
    before: tuple[datetime, JobId] | None = None,
    states: Sequence[JobState] | None = None,
    project: str | None = None,
    labels: Mapping[str, str] | None = None,
    start_time: datetime | None = None,
    end_time: datetime | None = None,
) -> list[Job]:
    """List a tenant's jobs, newest first, before a (create_time, job_id).

    A condition that is None holds for every job; ``labels`` must all be there.
    """
    before_time, before_job_id = before or (None, None)
    async with conn.cursor(row_factory=typed_row(Job)) as cursor:
        await cursor.execute(
            _QUERIES["list_jobs"],
            {
                "tenant_id": tenant_id,
                "before_time": before_time,
                "before_job_id": before_job_id,
                "states": None if states is None else [str(state) for state in states],
                "project": project,
                "labels": Jsonb(dict(labels or {})),
                "start_time": start_time,
                "end_time": end_time,
                "limit": limit,
            },
        )
        return await cursor.fetchall()


async def list_images(
    conn: AsyncConnection,
    *,
    tenant_id: TenantId,
    job_id: JobId,
    limit: int,
    after_number: int = 0,
    states: Sequence[ImageState] | None = None,
    client_ref: str | None = None,
    labels: Mapping[str, str] | None = None,
    image_ids: Sequence[ImageId] | None = None,
) -> list[Image]:
    """List a job's images by number, after one.

    A condition that is None holds for every image; ``labels`` must all be there.
    """
    async with conn.cursor(row_factory=typed_row(Image)) as cursor:
        await cursor.execute(
            _QUERIES["list_images"],
            {
                "tenant_id": tenant_id,
                "job_id": job_id,
                "after_number": after_number,
                "states": None if states is None else [str(state) for state in states],
                "client_ref": client_ref,
                "labels": Jsonb(dict(labels or {})),
                "image_ids": None if image_ids is None else list(image_ids),
                "limit": limit,
            },
        )
        return await cursor.fetchall()


async def get_image(
    conn: AsyncConnection, *, tenant_id: TenantId, job_id: JobId, image_id: ImageId
) -> Image | None:
    """Find one image of a tenant's job."""
    async with conn.cursor(row_factory=typed_row(Image)) as cursor:
        await cursor.execute(
            _QUERIES["get_image"],
            {"tenant_id": tenant_id, "job_id": job_id, "image_id": image_id},
        )
        return await cursor.fetchone()


async def events_after(
    conn: AsyncConnection,
    *,
    tenant_id: TenantId,
    job_id: JobId,
    event_number: int,
    limit: int,
) -> list[JobEvent]:
    """List a job's events after one, in order and without gaps."""
    async with conn.cursor(row_factory=typed_row(JobEvent)) as cursor:
        await cursor.execute(
            _QUERIES["events_after"],
            {
                "tenant_id": tenant_id,
                "job_id": job_id,
                "event_number": event_number,
                "limit": limit,
            },
        )
        return await cursor.fetchall()


async def progress_of_job(
    conn: AsyncConnection,
    *,
    tenant_id: TenantId,
    job_id: JobId,
    after_time: datetime | None = None,
) -> list[ImageProgress]:
    """List the progress of a job's running images that is newer than ``after_time``."""
    async with conn.cursor(row_factory=typed_row(ImageProgress)) as cursor:
        await cursor.execute(
            _QUERIES["progress_of_job"],
            {"tenant_id": tenant_id, "job_id": job_id, "after_time": after_time},
        )
        return await cursor.fetchall()


async def _insert_job(conn: AsyncConnection, job_id: JobId, job: NewJob) -> Job:
    parameters = {
        "tenant_id": job.tenant_id,
        "job_id": job_id,
        "display_name": job.display_name,
        "tier": job.tier,
        "project": job.project,
        "labels": Jsonb(dict(job.labels)),
        "key_id": job.key_id,
        "price_id": job.price_id,
        "currency": job.currency,
        "hold_nanos": sum(image.hold_nanos for image in job.images),
        "max_cost_nanos": job.max_cost_nanos,
        "retry_of": job.retry_of,
        "deadline_time": job.deadline_time,
        "image_count": len(job.images),
    }
    async with conn.cursor(row_factory=typed_row(Job)) as cursor:
        await cursor.execute(_QUERIES["insert_job"], parameters)
        created = await cursor.fetchone()
    assert created is not None, "INSERT … RETURNING gives a row or raises"
    return created


async def _insert_images(
    conn: AsyncConnection, job_id: JobId, job: NewJob, images: Mapping[ImageId, NewImage]
) -> None:
    rows = [
        {
            "image_id": image_id,
            "image_number": number,
            "labels": dict(image.labels),
            "client_ref": image.client_ref,
            "hold_nanos": image.hold_nanos,
            **asdict(image.spec),
        }
        for number, (image_id, image) in enumerate(images.items(), start=1)
    ]
    await conn.execute(
        _QUERIES["insert_images"],
        {
            "tenant_id": job.tenant_id,
            "job_id": job_id,
            "tier": job.tier,
            "deadline_time": job.deadline_time,
            "traceparent": job.traceparent,
            "images": Jsonb(rows),
        },
    )


async def _hold(
    conn: AsyncConnection, job_id: JobId, job: NewJob, images: Mapping[ImageId, NewImage]
) -> None:
    transfers = await holds.hold_images(
        conn,
        tenant_id=job.tenant_id,
        job_id=job_id,
        currency=job.currency,
        amounts_nanos={image_id: image.hold_nanos for image_id, image in images.items()},
    )
    await conn.execute(
        _QUERIES["link_holds"],
        {"image_ids": list(transfers), "transfer_ids": list(transfers.values())},
    )
