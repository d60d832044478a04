"""What every move of an image does to its job: counters, state, events, in one place.

The job's row is locked first, so counters are exact and events are numbered without gaps. Watchers
are notified, which only hastens them: every waiter also polls.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from metering.price_document import Tier
from services.jobs.image_states import (
    TERMINAL_JOB_STATES,
    Actor,
    Counters,
    ImageState,
    JobState,
    job_state,
    transition,
)
from tenants.ids import ImageId, JobId, KeyId, PriceId, TenantId

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedJob(Counters):
    """A job whose row this transaction has locked."""

    tenant_id: TenantId
    job_id: JobId
    state: JobState
    tier: Tier
    key_id: KeyId
    project: str
    price_id: PriceId
    currency: str
    start_time: datetime | None
    cancel_wish_time: datetime | None
    last_event_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """An image that was moved, by compare-and-set, in this transaction."""

    image_id: ImageId
    from_state: ImageState | None
    to_state: ImageState


async def lock_job(conn: AsyncConnection, job_id: JobId) -> LockedJob | None:
    """Lock a job before any of its images; None when this transaction cannot see it."""
    async with conn.cursor(row_factory=typed_row(LockedJob)) as cursor:
        await cursor.execute(_QUERIES["lock_job"], {"job_id": job_id})
        return await cursor.fetchone()


async def tell_workers(conn: AsyncConnection, tenant_id: TenantId) -> None:
    """Let a tenant's workers hear what changed for them now, not with their next heartbeats."""
    await conn.execute(_QUERIES["notify_workers"], {"tenant_id": tenant_id})


async def book_moves(
    conn: AsyncConnection, job: LockedJob, moves: Sequence[Move], *, actor: Actor
) -> JobState:
    """Carry moved images into their job's counters, state and events, and wake its watchers."""
    for move in moves:
        transition(move.from_state, move.to_state, actor=actor)
    counters = _moved(job, moves)
    claimed = any(move.to_state is ImageState.RUNNING for move in moves)
    started = job.start_time is not None or claimed
    state = job_state(counters, started=started, cancel_wished=job.cancel_wish_time is not None)
    last_event_number = await _insert_events(
        conn, job, moves, state=state, job_changed=state != job.state
    )
    await conn.execute(
        _QUERIES["update_job"],
        {
            "job_id": job.job_id,
            "state": state,
            "queued_count": counters.queued_count,
            "running_count": counters.running_count,
            "quarantined_count": counters.quarantined_count,
            "succeeded_count": counters.succeeded_count,
            "failed_count": counters.failed_count,
            "blocked_count": counters.blocked_count,
            "cancelled_count": counters.cancelled_count,
            "last_event_number": last_event_number,
            "started": started,
            "ended": state in TERMINAL_JOB_STATES,
            "claimed": claimed,
        },
    )
    await conn.execute(_QUERIES["notify_watchers"], {"job_id": job.job_id})
    return state


def _moved(job: Counters, moves: Sequence[Move]) -> Counters:
    delta: Counter[ImageState] = Counter(move.to_state for move in moves)
    delta.subtract(Counter(move.from_state for move in moves if move.from_state is not None))
    return Counters(
        queued_count=job.queued_count + delta[ImageState.QUEUED],
        running_count=job.running_count + delta[ImageState.RUNNING],
        quarantined_count=job.quarantined_count + delta[ImageState.QUARANTINED],
        succeeded_count=job.succeeded_count + delta[ImageState.SUCCEEDED],
        failed_count=job.failed_count + delta[ImageState.FAILED],
        blocked_count=job.blocked_count + delta[ImageState.BLOCKED],
        cancelled_count=job.cancelled_count + delta[ImageState.CANCELLED],
    )


async def _insert_events(
    conn: AsyncConnection,
    job: LockedJob,
    moves: Sequence[Move],
    *,
    state: JobState,
    job_changed: bool,
) -> int:
    """One event per image and one for the job if its state changed; returns the last number."""
    images: list[tuple[str, str | None, str | None]] = [
        ("IMAGE_STATE", move.image_id, move.to_state) for move in moves
    ]
    events = [*images, ("JOB_STATE", None, None)] if job_changed else images
    numbers = range(job.last_event_number + 1, job.last_event_number + 1 + len(events))
    await conn.execute(
        _QUERIES["insert_events"],
        {
            "tenant_id": job.tenant_id,
            "job_id": job.job_id,
            "job_state": state,
            "event_numbers": list(numbers),
            "kinds": [kind for kind, _, _ in events],
            "image_ids": [image_id for _, image_id, _ in events],
            "image_states": [image_state for _, _, image_state in events],
        },
    )
    return job.last_event_number + len(events)
