"""A worker's session: one lease for all it holds, renewed by heartbeats on the database's clock.

Every heartbeat is answered with the whole truth for that worker, so that no wake-up can be lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from database.queries import load_queries
from database.rows import typed_row
from services.jobs.records import AttemptKey, WorkerIdentity
from tenants.ids import ImageId, SessionId, TenantId

_QUERIES: Final = load_queries(__file__)
# How long an image that must run alone lets interactive ones go first. Somebody waits for those;
# but a studio that always asks for the next one would never let its worker become empty.
ALONE_PATIENCE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningAttempt:
    """An attempt the worker holds; ``step`` counts steps done, ``begun`` that one has begun."""

    key: AttemptKey
    begun: bool
    step: int
    step_count: int
    preview: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What a worker says each second; ``running`` names every attempt that it holds."""

    worker: WorkerIdentity
    process_id: int
    ready: bool
    waiting_tokens: int
    batch_slots_free: int
    interactive_slots_free: int
    engine_step_counter: int
    running: Sequence[RunningAttempt]


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTruth:
    """All that a worker must know."""

    cancel_wishes: tuple[AttemptKey, ...]
    invalid_attempts: tuple[AttemptKey, ...]
    interactive_images_waiting: int
    # They lost a worker before: each waits until a worker has nothing else in flight.
    alone_images_waiting: int
    # One of them has waited so long that even interactive images let it go first.
    alone_image_overdue: bool
    # Share of the time its engine may be busy.
    duty_cycle: float
    lease_expire_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    duty_cycle: float
    lease_expire_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _ValidAttempt:
    image_id: ImageId
    attempt: int
    claim_token: UUID
    cancel_wished: bool

    @property
    def key(self) -> AttemptKey:
        return AttemptKey(
            image_id=self.image_id, attempt=self.attempt, claim_token=self.claim_token
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _WaitingAlone:
    image_count: int
    overdue: bool


async def heartbeat(
    conn: AsyncConnection,
    beat: Heartbeat,
    *,
    tenant_id: TenantId,
    lease_seconds: float,
) -> SessionTruth:
    """Renew the session's lease and read the truth for its worker."""
    session = await _renew(conn, beat, tenant_id=tenant_id, lease_seconds=lease_seconds)
    await _note_begun(conn, beat)
    return await _truth(conn, beat, session, tenant_id=tenant_id)


async def read_truth(
    conn: AsyncConnection, beat: Heartbeat, *, tenant_id: TenantId
) -> SessionTruth | None:
    """Read the truth between two heartbeats; nothing is renewed. None for a session unknown."""
    async with conn.cursor(row_factory=typed_row(_Session)) as cursor:
        await cursor.execute(
            _QUERIES["get_session"], {"tenant_id": tenant_id, "session_id": beat.worker.session_id}
        )
        session = await cursor.fetchone()
    if session is None:
        return None
    return await _truth(conn, beat, session, tenant_id=tenant_id)


async def unheld_attempts(
    conn: AsyncConnection, beat: Heartbeat, *, tenant_id: TenantId, age_seconds: float
) -> list[AttemptKey]:
    """List what was handed to the session and its heartbeat does not name.

    The answer to its claim was lost, or it gave the image up without a word. Its lease lives on, so
    nobody else would find it; ``age_seconds`` is longer than an answer may be on its way.
    """
    async with conn.cursor(row_factory=typed_row(AttemptKey)) as cursor:
        await cursor.execute(
            _QUERIES["unheld_attempts"],
            {
                "tenant_id": tenant_id,
                "session_id": beat.worker.session_id,
                "claim_tokens": [attempt.key.claim_token for attempt in beat.running],
                "age_seconds": age_seconds,
            },
        )
        return await cursor.fetchall()


async def write_progress(conn: AsyncConnection, running: Sequence[RunningAttempt]) -> None:
    """Overwrite the progress of attempts that are still valid; never goes backwards."""
    reports = [attempt for attempt in running if attempt.begun]
    if not reports:
        return
    await conn.execute(
        _QUERIES["upsert_progress"],
        {
            "image_ids": [report.key.image_id for report in reports],
            "attempts": [report.key.attempt for report in reports],
            "claim_tokens": [report.key.claim_token for report in reports],
            "steps": [report.step for report in reports],
            "step_counts": [report.step_count for report in reports],
            "previews": [report.preview for report in reports],
        },
    )


async def end_session(conn: AsyncConnection, session_id: SessionId) -> None:
    """End a session whose worker said goodbye; what it held is recovered at the next sweep."""
    await conn.execute(_QUERIES["end_session"], {"session_id": session_id})


async def _renew(
    conn: AsyncConnection, beat: Heartbeat, *, tenant_id: TenantId, lease_seconds: float
) -> _Session:
    async with conn.cursor(row_factory=typed_row(_Session)) as cursor:
        await cursor.execute(
            _QUERIES["upsert_session"],
            {
                "tenant_id": tenant_id,
                "session_id": beat.worker.session_id,
                "gpu_id": beat.worker.gpu_id,
                "model": beat.worker.model,
                "process_id": beat.process_id,
                "ready": beat.ready,
                "waiting_tokens": beat.waiting_tokens,
                "batch_slots_free": beat.batch_slots_free,
                "interactive_slots_free": beat.interactive_slots_free,
                "engine_step_counter": beat.engine_step_counter,
                "lease_seconds": lease_seconds,
            },
        )
        session = await cursor.fetchone()
    assert session is not None, "an upsert returns its row"
    return session


async def _note_begun(conn: AsyncConnection, beat: Heartbeat) -> None:
    begun = [attempt.key.claim_token for attempt in beat.running if attempt.begun]
    if begun:
        await conn.execute(_QUERIES["note_begun_steps"], {"claim_tokens": begun})


async def _truth(
    conn: AsyncConnection, beat: Heartbeat, session: _Session, *, tenant_id: TenantId
) -> SessionTruth:
    valid = await _valid_attempts(conn, beat.worker.session_id, tenant_id)
    valid_tokens = {attempt.claim_token for attempt in valid}
    alone = await _waiting_alone(conn, tenant_id, beat.worker.model)
    return SessionTruth(
        # Of whatever the session holds, also what it was given since its last heartbeat.
        cancel_wishes=tuple(attempt.key for attempt in valid if attempt.cancel_wished),
        invalid_attempts=tuple(
            attempt.key for attempt in beat.running if attempt.key.claim_token not in valid_tokens
        ),
        interactive_images_waiting=await _count_waiting_interactive(
            conn, tenant_id, beat.worker.model
        ),
        alone_images_waiting=alone.image_count,
        alone_image_overdue=alone.overdue,
        duty_cycle=session.duty_cycle,
        lease_expire_time=session.lease_expire_time,
    )


async def _valid_attempts(
    conn: AsyncConnection, session_id: SessionId, tenant_id: TenantId
) -> list[_ValidAttempt]:
    """The attempts that the session holds, and whether a cancel is wished."""
    async with conn.cursor(row_factory=typed_row(_ValidAttempt)) as cursor:
        await cursor.execute(
            _QUERIES["valid_attempts"], {"tenant_id": tenant_id, "session_id": session_id}
        )
        return await cursor.fetchall()


async def _count_waiting_interactive(conn: AsyncConnection, tenant_id: TenantId, model: str) -> int:
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            _QUERIES["count_waiting_interactive"], {"tenant_id": tenant_id, "model": model}
        )
        count: int | None = await cursor.fetchone()
    return count or 0


async def _waiting_alone(conn: AsyncConnection, tenant_id: TenantId, model: str) -> _WaitingAlone:
    async with conn.cursor(row_factory=typed_row(_WaitingAlone)) as cursor:
        await cursor.execute(
            _QUERIES["count_waiting_alone"],
            {"tenant_id": tenant_id, "model": model, "patience_seconds": ALONE_PATIENCE_SECONDS},
        )
        waiting = await cursor.fetchone()
    assert waiting is not None, "an aggregate has a row"
    return waiting
