"""A worker asks for work: the tenant's best image becomes RUNNING under the worker's session.

Best is: INTERACTIVE first, then the job that waited longest for its turn, then the image's number;
so a job of one is not held up by an earlier job of a thousand. An image that must run alone and has
waited for an empty worker for too long goes before all of them.
"""

from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from metering.price_document import Tier
from services.jobs.image_moves import take_image
from services.jobs.image_states import Actor, ImageState
from services.jobs.job_moves import Move, book_moves, lock_job
from services.jobs.records import AttemptKey, ClaimedImage, ImageSpec, WorkerIdentity
from services.jobs.worker_session_store import ALONE_PATIENCE_SECONDS
from tenants.ids import ImageId, JobId, TenantId

_QUERIES: Final = load_queries(__file__)
# Each lost race means that somebody else claimed; so many in a row do not happen to one tenant's
# few workers, and giving up only costs the token, which the housekeeper replaces.
_RACES_MAX: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    image_id: ImageId
    job_id: JobId
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _ClaimedRow:
    job_id: JobId
    tier: Tier
    traceparent: str
    alone: bool
    spec: ImageSpec


async def claim_image(
    conn: AsyncConnection,
    worker: WorkerIdentity,
    *,
    tenant_id: TenantId,
    interactive_only: bool,
    nothing_in_flight: bool,
) -> ClaimedImage | None:
    """Hand the best image to a worker's session; None when nothing claimable is queued.

    Also None for a session without a lease or not ready: it would not hold the image.
    The picking takes no lock, so it may lose a race; then it picks again.
    """
    if not await _session_lives(conn, worker):
        return None
    for _ in range(_RACES_MAX):
        candidate = await _best_image(
            conn,
            worker,
            tenant_id=tenant_id,
            interactive_only=interactive_only,
            nothing_in_flight=nothing_in_flight,
        )
        if candidate is None:
            return None
        claimed = await _take(conn, candidate, worker)
        if claimed is not None:
            return claimed
    return None


async def _session_lives(conn: AsyncConnection, worker: WorkerIdentity) -> bool:
    # Locked: the housekeeper cannot end the session between this look and the claim's commit.
    cursor = await conn.execute(_QUERIES["lock_live_session"], {"session_id": worker.session_id})
    return await cursor.fetchone() is not None


async def _best_image(
    conn: AsyncConnection,
    worker: WorkerIdentity,
    *,
    tenant_id: TenantId,
    interactive_only: bool,
    nothing_in_flight: bool,
) -> _Candidate | None:
    async with conn.cursor(row_factory=typed_row(_Candidate)) as cursor:
        await cursor.execute(
            _QUERIES["best_image"],
            {
                "tenant_id": tenant_id,
                "model": worker.model,
                "interactive_only": interactive_only,
                "nothing_in_flight": nothing_in_flight,
                "patience_seconds": ALONE_PATIENCE_SECONDS,
            },
        )
        return await cursor.fetchone()


async def _take(
    conn: AsyncConnection, candidate: _Candidate, worker: WorkerIdentity
) -> ClaimedImage | None:
    job = await lock_job(conn, candidate.job_id)
    if job is None:
        return None
    claim_token = uuid4()
    attempt = await take_image(
        conn,
        job,
        image_id=candidate.image_id,
        attempt=candidate.attempt,
        claim_token=claim_token,
        worker=worker,
    )
    if attempt is None:
        return None
    move = Move(
        image_id=candidate.image_id, from_state=ImageState.QUEUED, to_state=ImageState.RUNNING
    )
    await book_moves(conn, job, [move], actor=Actor.RECORDER)
    row = await _claimed(conn, candidate.image_id)
    return ClaimedImage(
        attempt=AttemptKey(image_id=candidate.image_id, attempt=attempt, claim_token=claim_token),
        job_id=row.job_id,
        tier=row.tier,
        spec=row.spec,
        alone=row.alone,
        traceparent=row.traceparent,
    )


async def _claimed(conn: AsyncConnection, image_id: ImageId) -> _ClaimedRow:
    async with conn.cursor(row_factory=typed_row(_ClaimedRow)) as cursor:
        await cursor.execute(_QUERIES["get_claimed"], {"image_id": image_id})
        row = await cursor.fetchone()
    assert row is not None, "this transaction has just taken it"
    return row
