"""Python and PostgreSQL read a tenant's clock alike, or the tenant does not get it."""

import struct
import zoneinfo
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from psycopg import AsyncConnection

from tenants.errors import TimeZoneRefusedError
from tenants.time_zones import check_time_zone

NOW = datetime(2026, 11, 24, tzinfo=UTC)
# A compiled zone without transitions: one offset of 0, called UTC.
COMPILED_UTC = b"".join(
    [
        b"TZif" + bytes(16),
        struct.pack(">6l", 0, 0, 0, 0, 1, 4),
        struct.pack(">lbb", 0, 0, 0),
        b"UTC\0",
    ]
)


@pytest.fixture
def zone_of_python_alone(tmp_path: Path) -> Generator[str]:
    """A zone whose file only Python finds."""
    (tmp_path / "Mars").mkdir()
    (tmp_path / "Mars" / "Olympus").write_bytes(COMPILED_UTC)
    zoneinfo.reset_tzpath([tmp_path])
    zoneinfo.ZoneInfo.clear_cache()
    yield "Mars/Olympus"
    zoneinfo.reset_tzpath()
    zoneinfo.ZoneInfo.clear_cache()


@pytest.mark.parametrize(
    "name", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Auckland"]
)
async def test_a_clock_that_both_read_alike_is_taken(
    connection: AsyncConnection, name: str
) -> None:
    await check_time_zone(connection, name, now=NOW)


async def test_a_clock_that_only_python_knows_is_refused(
    connection: AsyncConnection, zone_of_python_alone: str
) -> None:
    with pytest.raises(TimeZoneRefusedError, match="no time zone that the database knows"):
        await check_time_zone(connection, zone_of_python_alone, now=NOW)


@pytest.mark.parametrize("name", ["EDT", "UTC+3", "<x>-07", "../etc", "", "a\0b"])
async def test_a_clock_that_python_does_not_know_is_refused(
    connection: AsyncConnection, name: str
) -> None:
    with pytest.raises(TimeZoneRefusedError, match="IANA"):
        await check_time_zone(connection, name, now=NOW)


async def test_a_clock_that_means_summer_time_to_one_of_them_alone_is_refused(
    connection: AsyncConnection,
) -> None:
    # An abbreviation for the database, one hour ahead all year; a zone with summer time for Python.
    with pytest.raises(TimeZoneRefusedError, match="does not begin its months"):
        await check_time_zone(connection, "CET", now=NOW)
