"""What a tenant's workers have before them, read for the forecasts of its jobs.

Each model has workers of its own, so a job's forecast is the latest of its models'.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from metering.price_document import Tier
from services.gateway.finish_forecast import (
    NOTHING_KNOWN,
    Backlog,
    Drawing,
    Forecast,
    Kind,
    RunningImage,
    WaitingJob,
    expected_seconds,
    forecast,
    forecast_of_new,
    interactive_extra_seconds,
    measured_pace,
    measured_seconds,
    measured_step_seconds,
)
from services.jobs.image_states import TERMINAL_JOB_STATES
from services.jobs.records import Job
from tenants.ids import JobId, TenantId

_QUERIES: Final = load_queries(__file__)
_WAITING_JOBS_MAX: Final = 1000
# Enough to even out single images, few enough to follow a change of load within minutes.
_RECENT_DRAWINGS: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class _KindRow:
    model: str
    width: int
    height: int
    num_inference_steps: int

    @property
    def kind(self) -> Kind:
        return Kind(
            model=self.model,
            width=self.width,
            height=self.height,
            num_inference_steps=self.num_inference_steps,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _WaitingRow(_KindRow):
    job_id: JobId
    tier: Tier
    served: bool
    image_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunningRow(_KindRow):
    job_id: JobId
    tier: Tier
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _DrawingRow(_KindRow):
    tier: Tier
    claim_time: datetime
    end_time: datetime
    gpu_seconds: float
    queue_seconds: float
    batch_shares: Sequence[Mapping[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlogs:
    """All models' rows, in the order of the next claims."""

    waiting: Sequence[_WaitingRow]
    running: Sequence[_RunningRow]
    recent: Sequence[_DrawingRow]

    def of_model(self, model: str) -> "ModelBacklog":
        """Weigh what one model's workers have to do by what was measured on them."""
        drawings = [_drawing(row) for row in self.recent if row.model == model]
        weights = Weights(
            batch=measured_seconds(drawings),
            interactive=measured_seconds(drawings, step_seconds=measured_step_seconds(drawings)),
        )
        return ModelBacklog(
            weights=weights,
            backlog=Backlog(
                waiting=_waiting_jobs([row for row in self.waiting if row.model == model], weights),
                running=[
                    _running_image(row, weights) for row in self.running if row.model == model
                ],
                pace=measured_pace(drawings),
                interactive_extra_seconds=interactive_extra_seconds(drawings),
            ),
        )

    def models_of(self, job_id: JobId) -> set[str]:
        """Name the models that still draw for a job."""
        return {row.model for row in (*self.waiting, *self.running) if row.job_id == job_id}

    def forecast(self, job_id: JobId, *, now: datetime) -> Forecast:
        """Tell what lies before a job that has not ended."""
        waits = {row.model for row in self.waiting if row.job_id == job_id}
        found = {
            model: forecast(self.of_model(model).backlog, job_id, now=now)
            for model in self.models_of(job_id)
        }
        return _latest(found.values(), next_ones=[found[model] for model in waits])

    def forecast_of_new(self, kinds: Iterable[Kind], *, tier: Tier, now: datetime) -> Forecast:
        """Tell what would lie before a job of such images that comes now."""
        by_model: dict[str, Counter[Kind]] = {}
        for kind in kinds:
            by_model.setdefault(kind.model, Counter())[kind] += 1
        found = [
            forecast_of_new(
                known.backlog,
                tier=tier,
                image_count=counts.total(),
                image_seconds=_mean_seconds(counts, known.weights.of_tier(tier)),
                now=now,
            )
            for counts, known in (
                (counts, self.of_model(model)) for model, counts in by_model.items()
            )
        ]
        return _latest(found, next_ones=found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """GPU seconds of an image of each kind: in a batch's company, and by itself."""

    batch: Mapping[Kind, float]
    interactive: Mapping[Kind, float]

    def of_tier(self, tier: Tier) -> Mapping[Kind, float]:
        """Interactive images are drawn while the batch waits, mostly one at a time."""
        return self.interactive if tier is Tier.INTERACTIVE else self.batch


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBacklog:
    """One model's backlog, and the seconds it is weighed by."""

    backlog: Backlog
    weights: Weights


async def read_backlogs(conn: AsyncConnection, tenant_id: TenantId) -> Backlogs:
    """Read what forecasts need; it serves all jobs of the tenant."""
    parameters = {"tenant_id": tenant_id}
    async with conn.cursor(row_factory=typed_row(_WaitingRow)) as cursor:
        await cursor.execute(_QUERIES["waiting_images"], parameters | {"limit": _WAITING_JOBS_MAX})
        waiting = await cursor.fetchall()
    async with conn.cursor(row_factory=typed_row(_RunningRow)) as cursor:
        await cursor.execute(_QUERIES["running_images"], parameters)
        running = await cursor.fetchall()
    async with conn.cursor(row_factory=typed_row(_DrawingRow)) as cursor:
        await cursor.execute(_QUERIES["recent_drawings"], parameters | {"limit": _RECENT_DRAWINGS})
        recent = await cursor.fetchall()
    return Backlogs(waiting=waiting, running=running, recent=recent)


async def forecasts(
    conn: AsyncConnection, tenant_id: TenantId, jobs: Sequence[Job]
) -> dict[JobId, Forecast]:
    """Forecast those of some jobs of a tenant that have not ended, and keep each one's first."""
    open_jobs = [job for job in jobs if job.state not in TERMINAL_JOB_STATES]
    if not open_jobs:
        return {}
    backlogs = await read_backlogs(conn, tenant_id)
    now = datetime.now(UTC)
    found = {job.job_id: backlogs.forecast(job.job_id, now=now) for job in open_jobs}
    await _keep_first(conn, tenant_id, open_jobs, found)
    return found


async def _keep_first(
    conn: AsyncConnection,
    tenant_id: TenantId,
    jobs: Sequence[Job],
    found: Mapping[JobId, Forecast],
) -> None:
    """Note the first time that was told for a job, to be held against the truth later."""
    told = [
        (job.job_id, time, job.open_count)
        for job in jobs
        if (time := found[job.job_id].finish_time) is not None and job.open_count
    ]
    if not told:
        return
    job_ids, finish_times, open_counts = zip(*told, strict=True)
    await conn.execute(
        _QUERIES["keep_first_estimates"],
        {
            "tenant_id": tenant_id,
            "job_ids": list(job_ids),
            "finish_times": list(finish_times),
            "open_image_counts": list(open_counts),
        },
    )


def _drawing(row: _DrawingRow) -> Drawing:
    return Drawing(
        kind=row.kind,
        tier=row.tier,
        claim_time=row.claim_time,
        end_time=row.end_time,
        gpu_seconds=row.gpu_seconds,
        queue_seconds=row.queue_seconds,
        batch_shares=[(share["batch_size"], share["step_count"]) for share in row.batch_shares],
    )


def _waiting_jobs(rows: Sequence[_WaitingRow], weights: Weights) -> list[WaitingJob]:
    """Join the kinds of each job; the rows' order is the jobs'."""
    by_job: dict[JobId, list[_WaitingRow]] = {}
    for row in rows:
        by_job.setdefault(row.job_id, []).append(row)
    return [
        WaitingJob(
            job_id=job_id,
            tier=kinds[0].tier,
            queued_count=sum(row.image_count for row in kinds),
            image_seconds=_mean_seconds(
                Counter({row.kind: row.image_count for row in kinds}),
                weights.of_tier(kinds[0].tier),
            ),
            served=kinds[0].served,
        )
        for job_id, kinds in by_job.items()
    ]


def _running_image(row: _RunningRow, weights: Weights) -> RunningImage:
    part_left = max(1.0 - row.step / row.num_inference_steps, 0.0)
    return RunningImage(
        job_id=row.job_id,
        tier=row.tier,
        seconds_left=part_left * expected_seconds(row.kind, weights.of_tier(row.tier)),
    )


def _mean_seconds(counts: Counter[Kind], measured: Mapping[Kind, float]) -> float:
    total = sum(count * expected_seconds(kind, measured) for kind, count in counts.items())
    return total / counts.total()


def _latest(found: Iterable[Forecast], *, next_ones: Iterable[Forecast]) -> Forecast:
    """Join the forecasts of a job's models: done when the last is, begun when the first is."""
    times = [one.finish_time for one in found]
    if not times:
        return NOTHING_KNOWN
    known = [time for time in times if time is not None]
    return Forecast(
        queue_position=min((one.queue_position for one in next_ones), default=0),
        finish_time=max(known) if len(known) == len(times) else None,
    )
