"""Reports of usage: every record, or sums by day, model, size, key, project, label and more."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from database.queries import load_queries
from database.rows import typed_row
from metering.energy_source import EnergySource
from metering.usage_overhead import OverheadKey, sum_overhead
from metering.usage_questions import UsageDimension, UsageFilter, UsageQuestion, conditions
from metering.usage_records import UsageOutcome, UsageRecord
from metering.usage_roll_ups import get_clock
from tenants.ids import ImageId, JobId, KeyId, TenantId

_QUERIES: Final = load_queries(__file__)


_OVERHEAD_DIMENSIONS: Final = frozenset(
    {UsageDimension.DAY, UsageDimension.MODEL, UsageDimension.JOB}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSum:
    """Usage of one group; a dimension that was not asked for is None.

    Days are those of the tenant's time zone. Seconds and energy are those of what SUCCEEDED;
    ``energy_source`` is the weakest among them, the error one standard deviation.
    """

    day: date | None
    model: str | None
    width: int | None
    height: int | None
    key_id: KeyId | None
    project: str | None
    job_id: JobId | None
    label_value: str | None
    outcome: UsageOutcome | None
    currency: str
    image_count: int
    succeeded_count: int
    failed_count: int
    blocked_count: int
    cancelled_count: int
    gpu_seconds: float
    energy_millijoules: int
    energy_error_millijoules: int
    energy_source: EnergySource
    billed_cost_nanos: int
    # Of attempts that came to nothing; 0 also where the grouping does not allow to tell it.
    overhead_millijoules: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    """A page of groups, and the sum of all of them; None where nothing was used."""

    groups: Sequence[UsageSum]
    total: UsageSum | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row(UsageSum):
    is_total: bool


async def query_usage(
    conn: AsyncConnection,
    *,
    tenant_id: TenantId,
    time_zone: str,
    group_by: Collection[UsageDimension],
    chosen: UsageFilter,
    limit: int,
    offset: int = 0,
    from_day: date | None = None,
    label_key: str = "",
) -> UsageReport:
    """Sum a tenant's usage, ordered by its groups; no group at all gives one sum or none.

    ``offset`` skips groups, counted from those of ``from_day`` when DAY is asked for. ``label_key``
    names the label of the dimension LABEL. Several statements: call it in a snapshot.
    """
    by_job = UsageDimension.JOB in group_by or chosen.job_id is not None
    # Roll-ups know no jobs, and days of another clock are of no use.
    has_days = not by_job and await get_clock(conn, tenant_id) == time_zone
    question = UsageQuestion(
        tenant_id=tenant_id,
        time_zone=time_zone,
        has_days=has_days,
        group_by=frozenset(group_by),
        chosen=chosen,
        label_key=label_key,
    )
    await conn.execute(_QUERIES["give_memory"])
    if UsageDimension.DAY in group_by and (has_days or from_day is not None):
        rows = await _page_of_days(conn, question, limit=limit, offset=offset, from_day=from_day)
    else:
        rows = await _sum(conn, question, limit=limit, offset=offset)
    if _allows_overhead(group_by, chosen):
        rows = _with_overhead(rows, await sum_overhead(conn, question.parameters()))
    return UsageReport(
        groups=[row for row in rows if not row.is_total],
        total=next((row for row in rows if row.is_total), None),
    )


async def _page_of_days(
    conn: AsyncConnection,
    question: UsageQuestion,
    *,
    limit: int,
    offset: int,
    from_day: date | None,
) -> list[_Row]:
    """The total from months, and a page's groups from no more days than it can have.

    Groups are ordered by day before all else and no day is without one, so a page of 50 ends within
    50 days, however many groups a year has.
    """
    total = await _sum(conn, replace(question, group_by=frozenset()), limit=0, offset=0)
    page = question.beginning(from_day)
    last_day = await _nth_day(conn, page, days=offset + limit) if question.has_days else None
    groups = await _sum(conn, page.ending(last_day), limit=limit, offset=offset)
    return [row for row in total if row.is_total] + [row for row in groups if not row.is_total]


async def _sum(
    conn: AsyncConnection, question: UsageQuestion, *, limit: int, offset: int
) -> list[_Row]:
    async with conn.cursor(row_factory=typed_row(_Row)) as cursor:
        await cursor.execute(
            _QUERIES["query_usage"], question.parameters() | {"limit": limit, "offset": offset}
        )
        return await cursor.fetchall()


async def _nth_day(conn: AsyncConnection, question: UsageQuestion, *, days: int) -> date | None:
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["nth_day"], question.parameters() | {"days": days})
        day: date | None = await cursor.fetchone()
    return day


async def list_usage(
    conn: AsyncConnection,
    *,
    tenant_id: TenantId,
    chosen: UsageFilter,
    limit: int,
    before: tuple[datetime, ImageId] | None = None,
) -> list[UsageRecord]:
    """List a tenant's usage records, the newest first.

    ``before`` continues behind a record: its charge time and image.
    """
    before_time, before_image_id = before or (None, None)
    async with conn.cursor(row_factory=typed_row(UsageRecord)) as cursor:
        await cursor.execute(
            _QUERIES["list_usage"],
            conditions(tenant_id, chosen)
            | {"before_time": before_time, "before_image_id": before_image_id, "limit": limit},
        )
        return await cursor.fetchall()


def _allows_overhead(group_by: Collection[UsageDimension], chosen: UsageFilter) -> bool:
    # An attempt that came to nothing has no outcome of an image; and other groups would split it.
    return not chosen.outcomes and set(group_by) <= _OVERHEAD_DIMENSIONS


def _with_overhead(rows: list[_Row], overhead: Mapping[OverheadKey, int]) -> list[_Row]:
    told = [
        overhead.get(OverheadKey(day=row.day, model=row.model, job_id=row.job_id), 0)
        for row in rows
    ]
    return [
        replace(row, overhead_millijoules=sum(overhead.values()) if row.is_total else millijoules)
        for row, millijoules in zip(rows, told, strict=True)
    ]
