"""How much lies before a job and when its last image is expected.

From what the tenant's workers really took for their latest images: the time in which at least one
was being drawn, divided by the work that was done in it. Batching and several workers are in that
figure already, waiting for work is not.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from database.queries import load_queries
from database.rows import typed_row
from metering.price_document import Tier
from services.jobs.image_states import TERMINAL_JOB_STATES
from services.jobs.records import Job
from tenants.ids import JobId, TenantId

_QUERIES: Final = load_queries(__file__)
_WAITING_JOBS_MAX: Final = 1000
# Enough to even out single images, few enough to follow a change of load within minutes.
_RECENT_DRAWINGS: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingJob:
    """A job with images that wait; ``pixel_steps`` is the work of one of them."""

    job_id: JobId
    tier: Tier
    queued_count: int
    pixel_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A finished drawing: how long it ran, and how much work it was."""

    claim_time: datetime
    end_time: datetime
    pixel_steps: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What a tenant's workers have before them, in the order they will take it."""

    waiting: Sequence[WaitingJob]
    running_pixel_steps: int
    recent: Sequence[Drawing]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """``queue_position`` images are drawn before the job's next; no time when nothing is known."""

    queue_position: int
    finish_time: datetime | None


NOTHING_KNOWN: Final = Forecast(queue_position=0, finish_time=None)


async def read_backlog(conn: AsyncConnection, tenant_id: TenantId) -> Backlog:
    """Read what a forecast needs; one backlog serves all jobs of the tenant."""
    async with conn.cursor(row_factory=typed_row(WaitingJob)) as cursor:
        await cursor.execute(
            _QUERIES["waiting_jobs"], {"tenant_id": tenant_id, "limit": _WAITING_JOBS_MAX}
        )
        waiting = await cursor.fetchall()
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["running_pixel_steps"], {"tenant_id": tenant_id})
        running: int | None = await cursor.fetchone()
    async with conn.cursor(row_factory=typed_row(Drawing)) as cursor:
        await cursor.execute(
            _QUERIES["recent_drawings"], {"tenant_id": tenant_id, "limit": _RECENT_DRAWINGS}
        )
        recent = await cursor.fetchall()
    return Backlog(waiting=waiting, running_pixel_steps=running or 0, recent=recent)


async def forecasts(
    conn: AsyncConnection, tenant_id: TenantId, jobs: Sequence[Job]
) -> dict[JobId, Forecast]:
    """Forecast those of some jobs of a tenant that have not ended."""
    open_jobs = [job for job in jobs if job.state not in TERMINAL_JOB_STATES]
    if not open_jobs:
        return {}
    backlog = await read_backlog(conn, tenant_id)
    now = datetime.now(UTC)
    return {job.job_id: forecast(backlog, job.job_id, now=now) for job in open_jobs}


def forecast(backlog: Backlog, job_id: JobId, *, now: datetime) -> Forecast:
    """Tell what lies before a job that has not ended."""
    index = next(
        (index for index, other in enumerate(backlog.waiting) if other.job_id == job_id), None
    )
    # What runs is on average half done.
    work = backlog.running_pixel_steps / 2
    if index is None:
        return Forecast(queue_position=0, finish_time=_time_of(backlog, work, now=now))
    job = backlog.waiting[index]
    ahead = backlog.waiting[:index]
    work += job.queued_count * job.pixel_steps
    work += sum(_work_before_the_last(other, job) for other in backlog.waiting if other != job)
    return Forecast(
        queue_position=sum(other.queued_count if _overtakes(other, job) else 1 for other in ahead),
        finish_time=_time_of(backlog, work, now=now),
    )


def forecast_of_new(
    backlog: Backlog, *, tier: Tier, image_count: int, pixel_steps: int, now: datetime
) -> Forecast:
    """Tell what would lie before a job that comes now; ``pixel_steps`` is one image's work."""
    new = WaitingJob(job_id=JobId(""), tier=tier, queued_count=image_count, pixel_steps=pixel_steps)
    before = [other for other in backlog.waiting if not _overtakes(new, other)]
    after = [other for other in backlog.waiting if _overtakes(new, other)]
    return forecast(replace(backlog, waiting=[*before, new, *after]), new.job_id, now=now)


def _work_before_the_last(other: WaitingJob, job: WaitingJob) -> int:
    """Work of another job that is taken before this job's last image: jobs of a tier take turns."""
    if _overtakes(other, job):
        return other.queued_count * other.pixel_steps
    if _overtakes(job, other):
        return 0
    return min(other.queued_count, job.queued_count) * other.pixel_steps


def _overtakes(one: WaitingJob, other: WaitingJob) -> bool:
    return one.tier is Tier.INTERACTIVE and other.tier is not Tier.INTERACTIVE


def _time_of(backlog: Backlog, pixel_steps: float, *, now: datetime) -> datetime | None:
    done = sum(drawing.pixel_steps for drawing in backlog.recent)
    if not done:
        return None
    return now + timedelta(seconds=busy_seconds(backlog.recent) * pixel_steps / done)


def busy_seconds(drawings: Sequence[Drawing]) -> float:
    """Return how long at least one of the drawings ran."""
    seconds = 0.0
    covered_until = datetime.min.replace(tzinfo=UTC)
    for drawing in sorted(drawings, key=lambda drawing: drawing.claim_time):
        start = max(drawing.claim_time, covered_until)
        seconds += max((drawing.end_time - start).total_seconds(), 0.0)
        covered_until = max(covered_until, drawing.end_time)
    return seconds
