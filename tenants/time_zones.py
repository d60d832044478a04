"""A tenant's clock: a time zone that Python and PostgreSQL read alike.

Periods are begun and ended by both: invoices by Python; budgets, tiers and reports by the database.
A zone that one of them does not know would stop a tenant's jobs, and one that they read differently
(``CET`` has summer time in one of them and none in the other) would count usage in two months.
"""

from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from psycopg import AsyncConnection
from psycopg.errors import InvalidParameterValue
from psycopg.rows import scalar_row

from database.queries import load_queries
from tenants.errors import TimeZoneRefusedError

_QUERIES: Final = load_queries(__file__)
_YEARS_COMPARED: Final = 3
_MONTHS: Final = 12


async def check_time_zone(conn: AsyncConnection, name: str, *, now: datetime) -> None:
    """Refuse a zone whose months do not begin at the same instants for Python and the database.

    The months of three years are compared: the one before, this and the next.

    Raises:
        TimeZoneRefusedError: one of the two does not know it, or they disagree; roll back.
    """
    months = [
        datetime(now.year - 1 + month // _MONTHS, month % _MONTHS + 1, 1, tzinfo=_zone(name))
        for month in range(_YEARS_COMPARED * _MONTHS)
    ]
    async with conn.cursor(row_factory=scalar_row) as cursor:
        try:
            await cursor.execute(
                _QUERIES["count_agreeing"],
                {
                    "time_zone": name,
                    "local_times": [month.replace(tzinfo=None) for month in months],
                    "instants": [month.astimezone(UTC) for month in months],
                },
            )
        except InvalidParameterValue as error:
            raise TimeZoneRefusedError(name, "is no time zone that the database knows") from error
        agreeing: int | None = await cursor.fetchone()
    if agreeing != len(months):
        raise TimeZoneRefusedError(name, "does not begin its months where the database does")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise TimeZoneRefusedError(name, "is no time zone of the IANA database") from error
