"""A worker ends an attempt: one transaction carries state, money, usage, event and picture.

Each function answers the same way when the same attempt is ended again, and refuses whoever comes
late: nothing changes for him.
"""

from dataclasses import dataclass
from typing import Final

import structlog
from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from metering import holds
from metering.energy_source import EnergySource
from metering.period_counters import count_up
from metering.price_book import get_price
from metering.rating import Rated, RatingFacts, cap, charged_counts, rate
from metering.usage_records import (
    NOT_CHARGED,
    BatchShare,
    NewUsage,
    UsageOutcome,
    insert_usage,
)
from services.jobs.image_moves import (
    EndedAttempt,
    MovedImage,
    leave_running,
    lock_job_of,
    old_answer,
)
from services.jobs.image_states import Actor, AttemptOutcome, ImageState
from services.jobs.job_moves import LockedJob, Move, book_moves
from services.jobs.records import AttemptKey
from tenants.ids import GpuId, ImageId, SessionId, TenantId

log = structlog.get_logger()

_QUERIES: Final = load_queries(__file__)
_REFUSING_OUTCOMES: Final = frozenset({AttemptOutcome.LOST, AttemptOutcome.EXPIRED})


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPicture:
    """A picture that lies safe in the recorder's spool; sizes in pixels and bytes."""

    sha256: str
    byte_count: int
    content_type: str
    width: int
    height: int
    spool_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedPicture:
    """What a picture must be like, and to whom its attempt was given how many seconds ago.

    Sizes in pixels, format PNG, JPEG or WEBP.
    """

    width: int
    height: int
    output_format: str
    session_id: SessionId
    gpu_id: GpuId
    seconds_since_claim: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnEnergy:
    """The joined energy of an attempt; the error is one standard deviation."""

    millijoules: int
    error_millijoules: int
    source: EnergySource


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnAttempt:
    """What a worker and the meter tell of an attempt that drew a picture."""

    key: AttemptKey
    session_id: SessionId
    gpu_id: GpuId
    precision: str
    batch_shares: tuple[BatchShare, ...]
    gpu_seconds: float
    queue_seconds: float
    last_mark_number: int
    energy: DrawnEnergy


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishAnswer:
    """Whether a result was taken, and the image's state."""

    accepted: bool
    state: ImageState


@dataclass(frozen=True, slots=True, kw_only=True)
class SpooledPicture:
    """A picture on its way from the spool to the object store."""

    tenant_id: TenantId
    image_id: ImageId
    spool_name: str
    object_path: str
    sha256: str
    byte_count: int
    content_type: str


async def succeed_image(
    conn: AsyncConnection, drawn: DrawnAttempt, picture: NewPicture
) -> FinishAnswer:
    """RUNNING → SUCCEEDED: the picture is recorded, the hold captured, the usage written."""
    job = await lock_job_of(conn, drawn.key.image_id)
    moved = await leave_running(
        conn,
        drawn.key,
        to_state=ImageState.SUCCEEDED,
        ended=EndedAttempt(
            outcome=AttemptOutcome.SUCCEEDED,
            began_step=True,
            last_mark_number=drawn.last_mark_number,
            gpu_seconds=drawn.gpu_seconds,
            queue_seconds=drawn.queue_seconds,
        ),
    )
    if job is None or moved is None:
        return await late_answer(conn, drawn.key)
    await book_moves(conn, job, [_move(moved, ImageState.SUCCEEDED)], actor=Actor.RECORDER)
    await _insert_picture(conn, moved, picture)
    await _charge(conn, job, moved, drawn)
    return FinishAnswer(accepted=True, state=ImageState.SUCCEEDED)


async def fail_image(
    conn: AsyncConnection,
    key: AttemptKey,
    *,
    began_step: bool,
    failure_reason: str,
    failure_message: str,
) -> FinishAnswer:
    """RUNNING → FAILED, because the engine gave a reason; nothing is charged."""
    return await _end_uncharged(
        conn,
        key,
        to_state=ImageState.FAILED,
        ended=EndedAttempt(outcome=AttemptOutcome.FAILED, began_step=began_step),
        failure_reason=failure_reason,
        failure_message=failure_message,
    )


async def confirm_cancel(
    conn: AsyncConnection, key: AttemptKey, *, began_step: bool
) -> FinishAnswer:
    """RUNNING → CANCELLED, because the worker has stopped; nothing is charged."""
    return await _end_uncharged(
        conn,
        key,
        to_state=ImageState.CANCELLED,
        ended=EndedAttempt(outcome=AttemptOutcome.CANCELLED, began_step=began_step),
    )


async def hand_back(conn: AsyncConnection, key: AttemptKey, *, began_step: bool) -> FinishAnswer:
    """RUNNING → QUEUED, because the worker drains; with a cancel wish it is CANCELLED instead."""
    job = await lock_job_of(conn, key.image_id)
    if job is not None and job.cancel_wish_time is not None:
        return await confirm_cancel(conn, key, began_step=began_step)
    moved = await leave_running(
        conn,
        key,
        to_state=ImageState.QUEUED,
        ended=EndedAttempt(outcome=AttemptOutcome.HANDED_BACK, began_step=began_step),
    )
    if job is None or moved is None:
        return await late_answer(conn, key)
    await book_moves(conn, job, [_move(moved, ImageState.QUEUED)], actor=Actor.RECORDER)
    return FinishAnswer(accepted=True, state=ImageState.QUEUED)


async def expected_picture(conn: AsyncConnection, key: AttemptKey) -> ExpectedPicture | None:
    """What the holder of an attempt must bring; None when it is not his any more."""
    async with conn.cursor(row_factory=typed_row(ExpectedPicture)) as cursor:
        await cursor.execute(
            _QUERIES["expected_picture"],
            {"image_id": key.image_id, "attempt": key.attempt, "claim_token": key.claim_token},
        )
        return await cursor.fetchone()


async def late_answer(conn: AsyncConnection, key: AttemptKey) -> FinishAnswer:
    """The first answer for an attempt that was ended before; a refusal for one that was lost."""
    old = await old_answer(conn, key)
    if old is None:
        # A token that never was: as little as possible is told.
        return FinishAnswer(accepted=False, state=ImageState.FAILED)
    accepted = old.outcome is not None and old.outcome not in _REFUSING_OUTCOMES
    return FinishAnswer(accepted=accepted, state=old.state)


async def release_unfinished(
    conn: AsyncConnection,
    job: LockedJob,
    images: list[MovedImage],
    *,
    outcome: UsageOutcome,
    failure_reason: str | None = None,
) -> None:
    """Free the holds of images that ended without a picture and tell so in their usage."""
    await holds.release(conn, [image.hold(job.currency) for image in images])
    for image in images:
        await insert_usage(
            conn,
            _usage(job, image, outcome=outcome, failure_reason=failure_reason),
            NOT_CHARGED,
        )


async def pictures_to_store(
    conn: AsyncConnection, *, limit: int, age_seconds: float = 0.0
) -> list[SpooledPicture]:
    """List pictures of all tenants that are still only in the spool, oldest first."""
    async with conn.cursor(row_factory=typed_row(SpooledPicture)) as cursor:
        await cursor.execute(
            _QUERIES["pictures_to_store"], {"limit": limit, "age_seconds": age_seconds}
        )
        return await cursor.fetchall()


async def mark_stored(conn: AsyncConnection, *, tenant_id: TenantId, image_id: ImageId) -> None:
    """Note that a picture has reached the object store."""
    await conn.execute(_QUERIES["mark_stored"], {"tenant_id": tenant_id, "image_id": image_id})


async def spooled_picture(
    conn: AsyncConnection, *, tenant_id: TenantId, image_id: ImageId
) -> SpooledPicture | None:
    """Find where the picture of an image lies in the spool."""
    async with conn.cursor(row_factory=typed_row(SpooledPicture)) as cursor:
        await cursor.execute(
            _QUERIES["spooled_picture"], {"tenant_id": tenant_id, "image_id": image_id}
        )
        return await cursor.fetchone()


async def _end_uncharged(
    conn: AsyncConnection,
    key: AttemptKey,
    *,
    to_state: ImageState,
    ended: EndedAttempt,
    failure_reason: str | None = None,
    failure_message: str | None = None,
) -> FinishAnswer:
    job = await lock_job_of(conn, key.image_id)
    moved = await leave_running(
        conn,
        key,
        to_state=to_state,
        ended=ended,
        failure_reason=failure_reason,
        failure_message=failure_message,
    )
    if job is None or moved is None:
        return await late_answer(conn, key)
    await book_moves(conn, job, [_move(moved, to_state)], actor=Actor.RECORDER)
    await release_unfinished(
        conn, job, [moved], outcome=UsageOutcome(to_state), failure_reason=failure_reason
    )
    return FinishAnswer(accepted=True, state=to_state)


async def _charge(
    conn: AsyncConnection, job: LockedJob, moved: MovedImage, drawn: DrawnAttempt
) -> None:
    hold = moved.hold(job.currency)
    # First the locks: with tiers, what an image costs depends on the captures before it.
    await holds.lock_hold(conn, hold)
    rated = await _rate(conn, job, moved, drawn)
    await holds.capture(conn, hold, price_nanos=rated.total_nanos)
    charged = cap(rated, hold.amount_nanos)
    if charged.total_nanos < rated.total_nanos:
        # The bounds of the price are too low for what this device draws with: the operator pays.
        log.error(
            "price_above_hold",
            tenant=moved.tenant_id,
            image=moved.image_id,
            price=job.price_id,
            written_off_nanos=rated.total_nanos - charged.total_nanos,
            currency=job.currency,
        )
    usage = _usage(job, moved, outcome=UsageOutcome.SUCCEEDED, drawn=drawn, rated=charged)
    await insert_usage(conn, usage, charged)


async def _rate(
    conn: AsyncConnection, job: LockedJob, moved: MovedImage, drawn: DrawnAttempt
) -> Rated:
    price = await get_price(conn, job.price_id)
    assert price is not None, "a foreign key keeps the pinned price"
    facts = RatingFacts(
        model=moved.model,
        width=moved.width,
        height=moved.height,
        num_inference_steps=moved.num_inference_steps,
        tier=moved.tier,
        gpu_seconds=drawn.gpu_seconds,
        energy_millijoules=drawn.energy.millijoules,
        energy_source=drawn.energy.source,
    )
    counted = await count_up(
        conn,
        tenant_id=moved.tenant_id,
        model=moved.model,
        consumed=charged_counts(price.document, facts),
    )
    return rate(price.document, facts, counted)


def _usage(
    job: LockedJob,
    moved: MovedImage,
    *,
    outcome: UsageOutcome,
    failure_reason: str | None = None,
    drawn: DrawnAttempt | None = None,
    rated: Rated = NOT_CHARGED,
) -> NewUsage:
    return NewUsage(
        tenant_id=moved.tenant_id,
        image_id=moved.image_id,
        job_id=moved.job_id,
        attempt=moved.attempt,
        outcome=outcome,
        failure_reason=failure_reason,
        key_id=job.key_id,
        project=job.project,
        model=moved.model,
        precision=drawn.precision if drawn else "",
        tier=moved.tier,
        width=moved.width,
        height=moved.height,
        num_inference_steps=moved.num_inference_steps,
        seed=moved.seed,
        gpu_id=drawn.gpu_id if drawn else None,
        session_id=drawn.session_id if drawn else None,
        last_mark_number=drawn.last_mark_number if drawn else None,
        batch_shares=drawn.batch_shares if drawn else (),
        gpu_seconds=drawn.gpu_seconds if drawn else 0.0,
        queue_seconds=drawn.queue_seconds if drawn else 0.0,
        energy_millijoules=drawn.energy.millijoules if drawn else 0,
        energy_error_millijoules=drawn.energy.error_millijoules if drawn else 0,
        energy_source=drawn.energy.source if drawn else EnergySource.NONE,
        price_id=job.price_id,
        price_nanos=rated.total_nanos,
        currency=job.currency,
    )


async def _insert_picture(conn: AsyncConnection, moved: MovedImage, picture: NewPicture) -> None:
    await conn.execute(
        _QUERIES["insert_picture"],
        {
            "tenant_id": moved.tenant_id,
            "image_id": moved.image_id,
            "attempt": moved.attempt,
            "sha256": picture.sha256,
            "byte_count": picture.byte_count,
            "content_type": picture.content_type,
            "width": picture.width,
            "height": picture.height,
            "object_path": _object_path(moved, picture.content_type),
            "spool_name": picture.spool_name,
        },
    )


def _object_path(moved: MovedImage, content_type: str) -> str:
    suffix = content_type.partition("/")[2]
    return f"tenants/{moved.tenant_id}/jobs/{moved.job_id}/{moved.image_id}.{suffix}"


def _move(moved: MovedImage, to_state: ImageState) -> Move:
    return Move(image_id=moved.image_id, from_state=ImageState.RUNNING, to_state=to_state)
