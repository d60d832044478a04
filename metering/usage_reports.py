"""Reports of usage: every record, or sums by day, model, size, key, project, label and more."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from metering.energy_source import EnergySource
from metering.usage_overhead import OverheadKey, sum_overhead
from metering.usage_records import UsageOutcome, UsageRecord
from metering.usage_roll_ups import get_clock
from metering.usage_windows import usage_window
from tenants.ids import ImageId, JobId, KeyId, TenantId

_QUERIES: Final = load_queries(__file__)


class UsageDimension(StrEnum):
    """What sums may be split by."""

    DAY = "DAY"
    MODEL = "MODEL"
    SIZE = "SIZE"
    KEY = "KEY"
    PROJECT = "PROJECT"
    JOB = "JOB"
    OUTCOME = "OUTCOME"
    # The value of one label; empty for images without it.
    LABEL = "LABEL"


_OVERHEAD_DIMENSIONS: Final = frozenset(
    {UsageDimension.DAY, UsageDimension.MODEL, UsageDimension.JOB}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFilter:
    """Which usage; None and an empty ``outcomes`` let everything through.

    Charged from ``start_time`` up to, not including, ``end_time``.
    """

    start_time: datetime | None = None
    end_time: datetime | None = None
    model: str | None = None
    key_id: KeyId | None = None
    project: str | None = None
    job_id: JobId | None = None
    outcomes: tuple[UsageOutcome, ...] = ()


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
    label_key: str = "",
) -> UsageReport:
    """Sum a tenant's usage, ordered by its groups; no group at all gives one sum or none.

    ``label_key`` names the label of the dimension LABEL.
    """
    by_job = UsageDimension.JOB in group_by or chosen.job_id is not None
    # Roll-ups know no jobs, and days of another clock are of no use.
    has_days = not by_job and await get_clock(conn, tenant_id) == time_zone
    window = usage_window(
        chosen.start_time,
        chosen.end_time,
        time_zone if has_days else None,
        by_day=UsageDimension.DAY in group_by,
    )
    await conn.execute(_QUERIES["give_memory"])
    parameters = (
        _conditions(tenant_id, chosen)
        | asdict(window)
        | {
            "time_zone": time_zone,
            "label_key": label_key,
            "by_label": UsageDimension.LABEL in group_by,
            # From the best to the weakest, as declared.
            "energy_sources": list(EnergySource),
            "by_day": UsageDimension.DAY in group_by,
            "by_model": UsageDimension.MODEL in group_by,
            "by_size": UsageDimension.SIZE in group_by,
            "by_key": UsageDimension.KEY in group_by,
            "by_project": UsageDimension.PROJECT in group_by,
            "by_job": UsageDimension.JOB in group_by,
            "by_outcome": UsageDimension.OUTCOME in group_by,
            "limit": limit,
            "offset": offset,
        }
    )
    async with conn.cursor(row_factory=typed_row(_Row)) as cursor:
        await cursor.execute(_QUERIES["query_usage"], parameters)
        rows = await cursor.fetchall()
    if _allows_overhead(group_by, chosen):
        rows = _with_overhead(rows, await sum_overhead(conn, parameters))
    return UsageReport(
        groups=[row for row in rows if not row.is_total],
        total=next((row for row in rows if row.is_total), None),
    )


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
            _conditions(tenant_id, chosen)
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


def _conditions(tenant_id: TenantId, chosen: UsageFilter) -> dict[str, object]:
    return {
        "tenant_id": tenant_id,
        "start_time": chosen.start_time,
        "end_time": chosen.end_time,
        "model": chosen.model,
        "key_id": chosen.key_id,
        "project": chosen.project,
        "job_id": chosen.job_id,
        "outcomes": list(chosen.outcomes or UsageOutcome),
    }
