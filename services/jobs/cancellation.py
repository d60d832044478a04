"""A job is cancelled: what waits ends at once, what runs gets a wish that its worker hears."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from database.queries import load_queries
from metering.usage_records import UsageOutcome
from services.jobs.charging import release_unfinished
from services.jobs.errors import InvalidTransitionError
from services.jobs.image_moves import leave_queued
from services.jobs.image_states import TERMINAL_JOB_STATES, Actor, ImageState
from services.jobs.job_moves import Move, book_moves, lock_job, tell_workers
from tenants.ids import ImageId, JobId

_QUERIES: Final = load_queries(__file__)


async def cancel_job(conn: AsyncConnection, job_id: JobId, *, actor: Actor = Actor.GATEWAY) -> bool:
    """Cancel a job; wishing it twice changes nothing.

    Returns:
        False when this transaction cannot see the job.

    Raises:
        InvalidTransitionError: the job has ended.
    """
    job = await lock_job(conn, job_id)
    if job is None:
        return False
    if job.state in TERMINAL_JOB_STATES:
        raise InvalidTransitionError(f"job {job_id} has ended: {job.state}")
    await conn.execute(_QUERIES["wish_cancel"], {"job_id": job_id})
    if job.running_count:
        await conn.execute(_QUERIES["wish_cancel_of_running"], {"job_id": job_id})
        await tell_workers(conn, job.tenant_id)
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["queued_images"], {"job_id": job_id})
        queued: list[ImageId] = await cursor.fetchall()
    moved = await leave_queued(conn, job_id=job_id, image_ids=queued, to_state=ImageState.CANCELLED)
    moves = [
        Move(
            image_id=image.image_id,
            from_state=ImageState.QUEUED,
            to_state=ImageState.CANCELLED,
        )
        for image in moved
    ]
    wished = replace(job, cancel_wish_time=job.cancel_wish_time or datetime.now(UTC))
    await book_moves(conn, wished, moves, actor=actor)
    await release_unfinished(conn, job, moved, outcome=UsageOutcome.CANCELLED)
    return True
