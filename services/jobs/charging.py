"""What an ended image costs: its price taken from its hold, or the hold freed, and its usage."""

from dataclasses import dataclass

import structlog

from database.pool import Connection
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
from services.jobs.image_moves import MovedImage
from services.jobs.job_moves import LockedJob
from services.jobs.records import AttemptKey
from tenants.ids import GpuId, SessionId

log = structlog.get_logger()


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


async def charge(conn: Connection, job: LockedJob, moved: MovedImage, drawn: DrawnAttempt) -> None:
    """Capture the price of a picture from its hold and write its usage."""
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


async def release_unfinished(
    conn: Connection,
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


async def _rate(conn: Connection, job: LockedJob, moved: MovedImage, drawn: DrawnAttempt) -> Rated:
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
