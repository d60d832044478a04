"""Energy of attempts that came to nothing: shown to their tenant, never billed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from tenants.ids import JobId

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverheadKey:
    """A group by day, model and job; a dimension that was not asked for is None."""

    day: date | None
    model: str | None
    job_id: JobId | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row(OverheadKey):
    millijoules: int


async def sum_overhead(
    conn: AsyncConnection, conditions: Mapping[str, object]
) -> dict[OverheadKey, int]:
    """Sum it by the groups of a report, whose conditions these are; those without are left out.

    An attempt counts where it ended, its image where that was charged: the sums of a day may
    be of different images.
    """
    async with conn.cursor(row_factory=typed_row(_Row)) as cursor:
        await cursor.execute(_QUERIES["sum_overhead"], conditions)
        rows = await cursor.fetchall()
    return {
        OverheadKey(day=row.day, model=row.model, job_id=row.job_id): row.millijoules
        for row in rows
    }
