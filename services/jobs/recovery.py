"""What the housekeeper does with work that lost its worker, its time or its token.

Each image is moved in a transaction of its own, given by the caller, so that one sweep never holds
many jobs' locks.
"""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from metering.usage_records import UsageOutcome
from services.jobs.charging import release_unfinished
from services.jobs.image_moves import (
    EndedAttempt,
    MovedImage,
    leave_queued,
    leave_running,
    lock_job_of,
)
from services.jobs.image_states import LOST_ATTEMPTS_MAX, Actor, AttemptOutcome, ImageState
from services.jobs.job_moves import LockedJob, Move, book_moves, tell_workers
from services.jobs.records import AttemptKey
from tenants.ids import ImageId, JobId, TenantId

_QUERIES: Final = load_queries(__file__)
ATTEMPTS_LOST: Final = "ATTEMPTS_LOST"
DEADLINE_PASSED: Final = "DEADLINE_PASSED"
_ATTEMPTS_LOST_MESSAGE: Final = (
    f"Its worker died {LOST_ATTEMPTS_MAX} times while drawing it; you were not charged."
)
_DEADLINE_PASSED_MESSAGE: Final = "Its deadline passed before it was drawn; you were not charged."


@dataclass(frozen=True, slots=True, kw_only=True)
class LostAttempt:
    """An image that runs under a session whose lease is over."""

    image_id: ImageId
    attempt: int
    claim_token: UUID
    lost_attempt_count: int
    began_step: bool

    @property
    def key(self) -> AttemptKey:
        """The fence of the move."""
        return AttemptKey(
            image_id=self.image_id, attempt=self.attempt, claim_token=self.claim_token
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiredImage:
    """An image whose deadline has passed before it ended."""

    image_id: ImageId
    job_id: JobId
    state: ImageState
    attempt: int
    claim_token: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedCount:
    """How many images of a tenant wait for a model's queue."""

    tenant_id: TenantId
    model: str
    queued_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingTokens:
    """How many tokens a tenant's live workers hold in their threads."""

    tenant_id: TenantId
    model: str
    waiting_tokens: int


async def end_expired_sessions(conn: AsyncConnection, *, lease_seconds: float) -> int:
    """End the sessions whose lease is over; returns how many.

    Within one lease of PostgreSQL's own start none is: no worker could have renewed its lease.
    """
    cursor = await conn.execute(_QUERIES["end_expired_sessions"], {"lease_seconds": lease_seconds})
    return cursor.rowcount


async def lost_attempts(conn: AsyncConnection, *, limit: int) -> list[LostAttempt]:
    """List images that run under ended sessions."""
    async with conn.cursor(row_factory=typed_row(LostAttempt)) as cursor:
        await cursor.execute(_QUERIES["lost_attempts"], {"limit": limit})
        return await cursor.fetchall()


async def recover_lost(conn: AsyncConnection, lost: LostAttempt) -> ImageState | None:
    """Queue a lost image again, or end it: with a cancel wish, or after its third lost attempt.

    Returns:
        Its new state; None when it was ended by its worker after all.
    """
    job = await lock_job_of(conn, lost.image_id)
    if job is None:
        return None
    to_state = _state_after_loss(job, lost)
    failed = to_state is ImageState.FAILED
    moved = await leave_running(
        conn,
        lost.key,
        to_state=to_state,
        ended=EndedAttempt(outcome=AttemptOutcome.LOST, began_step=lost.began_step),
        lost=lost.began_step,
        failure_reason=ATTEMPTS_LOST if failed else None,
        failure_message=_ATTEMPTS_LOST_MESSAGE if failed else None,
    )
    if moved is None:
        return None
    await _book(
        conn,
        job,
        moved,
        move=Move(image_id=moved.image_id, from_state=ImageState.RUNNING, to_state=to_state),
        failure_reason=ATTEMPTS_LOST if failed else None,
    )
    return to_state


async def expired_images(conn: AsyncConnection, *, limit: int) -> list[ExpiredImage]:
    """List images whose deadline has passed."""
    async with conn.cursor(row_factory=typed_row(ExpiredImage)) as cursor:
        await cursor.execute(_QUERIES["expired_images"], {"limit": limit})
        return await cursor.fetchall()


async def expire_image(conn: AsyncConnection, expired: ExpiredImage) -> bool:
    """QUEUED or RUNNING → FAILED; False when it moved meanwhile."""
    job = await lock_job_of(conn, expired.image_id)
    if job is None:
        return False
    moved = await _leave_for_deadline(conn, expired)
    if moved is None:
        return False
    move = Move(image_id=moved.image_id, from_state=expired.state, to_state=ImageState.FAILED)
    await _book(conn, job, moved, move=move, failure_reason=DEADLINE_PASSED)
    return True


async def claimable_counts(conn: AsyncConnection) -> list[QueuedCount]:
    """Count queued images by tenant and model."""
    async with conn.cursor(row_factory=typed_row(QueuedCount)) as cursor:
        await cursor.execute(_QUERIES["claimable_counts"])
        return await cursor.fetchall()


async def waiting_tokens(conn: AsyncConnection) -> list[WaitingTokens]:
    """Count the tokens that live workers hold, by tenant and model."""
    async with conn.cursor(row_factory=typed_row(WaitingTokens)) as cursor:
        await cursor.execute(_QUERIES["waiting_tokens"])
        return await cursor.fetchall()


def _state_after_loss(job: LockedJob, lost: LostAttempt) -> ImageState:
    if job.cancel_wish_time is not None:
        return ImageState.CANCELLED
    if lost.lost_attempt_count + lost.began_step >= LOST_ATTEMPTS_MAX:
        return ImageState.FAILED
    return ImageState.QUEUED


async def _leave_for_deadline(conn: AsyncConnection, expired: ExpiredImage) -> MovedImage | None:
    if expired.claim_token is None:
        moved = await leave_queued(
            conn,
            job_id=expired.job_id,
            image_ids=[expired.image_id],
            to_state=ImageState.FAILED,
            failure_reason=DEADLINE_PASSED,
            failure_message=_DEADLINE_PASSED_MESSAGE,
        )
        return moved[0] if moved else None
    return await leave_running(
        conn,
        AttemptKey(
            image_id=expired.image_id, attempt=expired.attempt, claim_token=expired.claim_token
        ),
        to_state=ImageState.FAILED,
        ended=EndedAttempt(outcome=AttemptOutcome.EXPIRED),
        failure_reason=DEADLINE_PASSED,
        failure_message=_DEADLINE_PASSED_MESSAGE,
    )


async def _book(
    conn: AsyncConnection,
    job: LockedJob,
    moved: MovedImage,
    *,
    move: Move,
    failure_reason: str | None,
) -> None:
    await book_moves(conn, job, [move], actor=Actor.HOUSEKEEPER)
    if move.from_state is ImageState.RUNNING:
        # Its worker may live on (frozen, cut off, out of time): it should burn no more GPU on it.
        await tell_workers(conn, job.tenant_id)
    if move.to_state is not ImageState.QUEUED:
        await release_unfinished(
            conn,
            job,
            [moved],
            outcome=UsageOutcome(move.to_state),
            failure_reason=failure_reason,
        )
