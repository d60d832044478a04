"""The one place where an image changes its state: compare-and-set under its job's lock.

Every move out of RUNNING names (image, attempt, claim token); who comes late changes nothing. What
a move does to money, attempt, counters and events happens in the same transaction, by the modules
that call it: ``claims``, ``finishes``, ``recovery`` and ``cancellation``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from database.queries import load_queries
from database.rows import typed_row
from metering.holds import Hold
from metering.price_document import Tier
from services.jobs.image_states import AttemptOutcome, ImageState
from services.jobs.job_moves import LockedJob, lock_job
from services.jobs.records import AttemptKey, WorkerIdentity
from tenants.ids import ImageId, JobId, TenantId

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedImage:
    """An image that this transaction has moved: what money and usage need to know of it."""

    tenant_id: TenantId
    job_id: JobId
    image_id: ImageId
    tier: Tier
    model: str
    width: int
    height: int
    num_inference_steps: int
    seed: int
    attempt: int
    hold_transfer_id: int
    hold_nanos: int

    def hold(self, currency: str) -> Hold:
        """The money that is held for it."""
        return Hold(
            tenant_id=self.tenant_id,
            transfer_id=self.hold_transfer_id,
            image_id=self.image_id,
            job_id=self.job_id,
            amount_nanos=self.hold_nanos,
            currency=currency,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedAttempt:
    """What is known of an attempt when it ends; times in seconds."""

    outcome: AttemptOutcome
    began_step: bool = False
    last_mark_number: int | None = None
    gpu_seconds: float | None = None
    queue_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OldAnswer:
    """What became of an attempt that was ended before."""

    outcome: AttemptOutcome | None
    state: ImageState


async def lock_job_of(conn: AsyncConnection, image_id: ImageId) -> LockedJob | None:
    """Lock the job an image belongs to; None when this transaction cannot see the image."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["job_of_image"], {"image_id": image_id})
        job_id: JobId | None = await cursor.fetchone()
    return None if job_id is None else await lock_job(conn, job_id)


async def take_image(
    conn: AsyncConnection,
    job: LockedJob,
    *,
    image_id: ImageId,
    attempt: int,
    claim_token: UUID,
    worker: WorkerIdentity,
) -> int | None:
    """QUEUED → RUNNING for a worker's session; returns the new attempt's number.

    None when the image was no longer queued after its attempt number ``attempt``.
    """
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            _QUERIES["take_image"],
            {
                "image_id": image_id,
                "attempt": attempt,
                "claim_token": claim_token,
                "session_id": worker.session_id,
            },
        )
        new_attempt: int | None = await cursor.fetchone()
    if new_attempt is not None:
        await conn.execute(
            _QUERIES["begin_attempt"],
            {
                "tenant_id": job.tenant_id,
                "image_id": image_id,
                "attempt": new_attempt,
                "job_id": job.job_id,
                "session_id": worker.session_id,
                "claim_token": claim_token,
                "gpu_id": worker.gpu_id,
                "model": worker.model,
            },
        )
    return new_attempt


async def leave_running(
    conn: AsyncConnection,
    key: AttemptKey,
    *,
    to_state: ImageState,
    ended: EndedAttempt,
    lost: bool = False,
    failure_reason: str | None = None,
    failure_message: str | None = None,
) -> MovedImage | None:
    """RUNNING → ``to_state`` for the holder of the attempt; None when it is not his any more."""
    async with conn.cursor(row_factory=typed_row(MovedImage)) as cursor:
        await cursor.execute(
            _QUERIES["leave_running"],
            {
                **_key(key),
                "to_state": to_state,
                "lost": lost,
                "failure_reason": failure_reason,
                "failure_message": failure_message,
            },
        )
        moved = await cursor.fetchone()
    if moved is not None:
        await conn.execute(
            _QUERIES["end_attempt"],
            {
                **_key(key),
                "outcome": ended.outcome,
                "began_step": ended.began_step,
                "last_mark_number": ended.last_mark_number,
                "gpu_seconds": ended.gpu_seconds,
                "queue_seconds": ended.queue_seconds,
            },
        )
        await conn.execute(_QUERIES["forget_progress"], {"image_ids": [key.image_id]})
    return moved


async def leave_queued(
    conn: AsyncConnection,
    *,
    job_id: JobId,
    image_ids: Sequence[ImageId],
    to_state: ImageState,
    failure_reason: str | None = None,
    failure_message: str | None = None,
) -> list[MovedImage]:
    """QUEUED → ``to_state`` for those of the images that are still queued."""
    async with conn.cursor(row_factory=typed_row(MovedImage)) as cursor:
        await cursor.execute(
            _QUERIES["leave_queued"],
            {
                "job_id": job_id,
                "image_ids": list(image_ids),
                "to_state": to_state,
                "failure_reason": failure_reason,
                "failure_message": failure_message,
            },
        )
        return await cursor.fetchall()


async def old_answer(conn: AsyncConnection, key: AttemptKey) -> OldAnswer | None:
    """What became of an attempt; None when there never was one with this token."""
    async with conn.cursor(row_factory=typed_row(OldAnswer)) as cursor:
        await cursor.execute(_QUERIES["outcome_of_attempt"], _key(key))
        return await cursor.fetchone()


def _key(key: AttemptKey) -> dict[str, str | int | UUID]:
    return {"image_id": key.image_id, "attempt": key.attempt, "claim_token": key.claim_token}
