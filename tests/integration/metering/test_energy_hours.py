"""Where the joules of an hour went, in the real tables, with the real roles."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest
from psycopg import AsyncConnection

from metering.energy_hours import (
    GpuHour,
    ReconciledHour,
    StoredHour,
    reconciliations,
    store_open_hours,
    stored_hours,
)
from metering.energy_records import CounterReading, SegmentBatch
from metering.energy_source import EnergySource
from metering.energy_store import insert_segments
from metering.parked_energy import ParkedHour
from metering.power import SegmentKind
from tests.integration.fixture_types import Become
from tests.integration.metering.energy_samples import (
    ACME,
    GPU,
    HOUR,
    batch,
    have_attempt,
    segment,
    share,
)

pytestmark = pytest.mark.integration

ONE_HOUR = timedelta(hours=1)


# Each part is a power of two, so that no two mistakes make a right sum.
RECONCILED: Final = ReconciledHour(
    gpu_id=GPU,
    hour_start_time=HOUR,
    sources="NVML_COUNTER",
    counter_millijoules=31_127,
    segment_count=6,
    images_millijoules=1,
    overhead_millijoules=16_000 + 8 + 16 + 32 + 64,
    in_progress_millijoules=2 + 4,
    parked_millijoules=8_000,
    free_millijoules=2_000,
    load_millijoules=4_000,
    unknown_millijoules=1_000,
    segment_mark=6,
    parked_hours=(
        ParkedHour(
            tenant_id=ACME,
            gpu_id=GPU,
            hour_start_time=HOUR,
            source=EnergySource.NVML_COUNTER,
            millijoules=8_000,
        ),
    ),
    is_past=False,
)


async def test_each_joule_of_an_hour_is_where_its_attempts_outcome_puts_it(
    connection: AsyncConnection, become: Become
) -> None:
    outcomes = {
        "won": "SUCCEEDED",
        "held": "QUARANTINED",
        "running": None,
        "failed": "FAILED",
        "lost": "LOST",
        "cancelled": "CANCELLED",
    }
    for image, outcome in outcomes.items():
        await have_attempt(connection, image, outcome)
    await become(connection, "atelier_meter_intake")
    shares = tuple(
        share(millijoules, image)
        for image, millijoules in zip(
            [*outcomes, "stranger"], (1, 2, 4, 8, 16, 32, 64), strict=True
        )
    )
    await insert_segments(
        connection,
        batch(
            segment(1, SegmentKind.UNKNOWN, 1_000),
            segment(2, SegmentKind.FREE, 2_000),
            segment(3, SegmentKind.LOAD, 4_000),
            segment(4, SegmentKind.PARKED, 8_000),
            segment(5, SegmentKind.SILENT, 16_000),
            segment(6, SegmentKind.WORK, 127, shares=shares),
            start_millijoules=77,
        ),
    )
    await become(connection, "atelier_operator")

    (hour,) = [
        found
        for found in await reconciliations(
            connection, since_hour=HOUR, until_hour=HOUR + timedelta(hours=1)
        )
        if found.gpu_id == GPU
    ]

    assert hour == RECONCILED
    assert hour.residual_millijoules == 0


async def test_what_the_counter_says_and_nobody_was_booked_for_is_seen(
    connection: AsyncConnection, become: Become
) -> None:
    await become(connection, "atelier_meter_intake")
    sent = batch(segment(1, SegmentKind.FREE, 100))
    await insert_segments(connection, with_counter_at(sent, 130))
    await become(connection, "atelier_operator")

    hours = await reconciliations(connection, since_hour=HOUR, until_hour=HOUR + timedelta(hours=1))

    assert [hour.residual_millijoules for hour in hours if hour.gpu_id == GPU] == [30]


async def stored(connection: AsyncConnection) -> list[StoredHour]:
    """Do the housekeeper's duty and read what came of it."""
    await store_open_hours(connection, hours_max=10_000)
    return await stored_hours(
        connection, gpu_id=GPU, start_time=None, end_time=None, after=None, limit=100
    )


async def end_attempt(connection: AsyncConnection, image: str, outcome: str) -> None:
    await connection.execute("RESET ROLE")
    await connection.execute("SET LOCAL session_replication_role = replica")
    await connection.execute(
        "UPDATE attempts SET outcome = %s, end_time = now() WHERE image_id = %s", (outcome, image)
    )
    await connection.execute("SET LOCAL session_replication_role = origin")


async def test_an_hour_is_sealed_when_the_timeline_has_passed_it_and_nothing_is_in_progress(
    connection: AsyncConnection, become: Become
) -> None:
    await have_attempt(connection, "held", "QUARANTINED")
    await become(connection, "atelier_meter_intake")
    work = segment(1, SegmentKind.WORK, 50, last_mark_number=1, shares=(share(50, "held"),))
    await insert_segments(connection, batch(work))
    await become(connection, "atelier_housekeeper")

    (running,) = await stored(connection)
    await become(connection, "atelier_meter_intake")
    later = segment(2, SegmentKind.FREE, 7, hour=HOUR + ONE_HOUR)
    await insert_segments(connection, batch(later, start_millijoules=50))
    await become(connection, "atelier_housekeeper")
    past, _ = await stored(connection)
    await end_attempt(connection, "held", "FAILED")
    await become(connection, "atelier_housekeeper")
    ended, current = await stored(connection)

    assert (running.in_progress_millijoules, running.seal_time) == (50, None)
    assert (past.in_progress_millijoules, past.seal_time) == (50, None)
    assert (ended.overhead_millijoules, ended.in_progress_millijoules) == (50, 0)
    assert ended.seal_time is not None
    assert (current.free_millijoules, current.seal_time) == (7, None)


async def test_what_each_tenants_waiting_workers_took_is_stored_by_hour_and_adds_up(
    connection: AsyncConnection, become: Become
) -> None:
    await become(connection, "atelier_meter_intake")
    await insert_segments(
        connection,
        batch(segment(1, SegmentKind.PARKED, 40), segment(2, SegmentKind.FREE, 3)),
    )
    await become(connection, "atelier_housekeeper")
    await stored(connection)
    await become(connection, "atelier_meter_intake")
    await insert_segments(
        connection, batch(segment(3, SegmentKind.PARKED, 2), start_millijoules=43)
    )
    await become(connection, "atelier_housekeeper")

    (hour,) = await stored(connection)

    cursor = await connection.execute(
        "SELECT tenant_id, hour_start_time, source, millijoules FROM parked_hours"
        " WHERE gpu_id = %s",
        [GPU],
    )
    assert await cursor.fetchall() == [(ACME, HOUR, "NVML_COUNTER", 42)]
    assert hour.parked_millijoules == 42


async def test_an_hour_that_does_not_add_up_is_stored_with_its_residual_and_never_sealed(
    connection: AsyncConnection, become: Become
) -> None:
    await become(connection, "atelier_meter_intake")
    sent = batch(segment(1, SegmentKind.FREE, 100))
    await insert_segments(connection, with_counter_at(sent, 130))
    later = segment(2, SegmentKind.FREE, 7, hour=HOUR + ONE_HOUR)
    await insert_segments(connection, batch(later, start_millijoules=130))
    await become(connection, "atelier_housekeeper")

    wrong, _ = await stored(connection)

    assert wrong.residual_millijoules == 30
    assert wrong.seal_time is None


async def test_a_sealed_hour_that_grows_all_the_same_opens_again(
    connection: AsyncConnection, become: Become
) -> None:
    await become(connection, "atelier_meter_intake")
    await insert_segments(connection, batch(segment(1, SegmentKind.FREE, 100)))
    later = segment(2, SegmentKind.FREE, 7, hour=HOUR + ONE_HOUR)
    await insert_segments(connection, batch(later, start_millijoules=100))
    await become(connection, "atelier_housekeeper")
    sealed, _ = await stored(connection)
    await have_attempt_after_reset(connection, "late")
    await become(connection, "atelier_meter_intake")
    put_back = segment(1, SegmentKind.WORK, 9, shares=(share(9, "late"),))
    await insert_segments(connection, batch(put_back, start_millijoules=107, epoch=2))
    await become(connection, "atelier_housekeeper")

    opened, _ = await stored(connection)

    assert sealed.seal_time is not None
    assert (opened.counter_millijoules, opened.in_progress_millijoules) == (109, 9)
    assert opened.seal_time is None


async def test_a_sealed_hour_is_left_alone(connection: AsyncConnection, become: Become) -> None:
    await become(connection, "atelier_meter_intake")
    await insert_segments(connection, batch(segment(1, SegmentKind.FREE, 100)))
    later = segment(2, SegmentKind.FREE, 7, hour=HOUR + ONE_HOUR)
    await insert_segments(connection, batch(later, start_millijoules=100))
    await become(connection, "atelier_housekeeper")
    first = await store_open_hours(connection, hours_max=10_000)

    second = await store_open_hours(connection, hours_max=10_000)

    assert [hour.hour_start_time for hour in of_gpu(first)] == [HOUR, HOUR + ONE_HOUR]
    assert [hour.hour_start_time for hour in of_gpu(second)] == [HOUR + ONE_HOUR]


async def test_stored_hours_are_read_in_pages_and_by_time(
    connection: AsyncConnection, become: Become
) -> None:
    await become(connection, "atelier_meter_intake")
    for number in range(1, 5):
        one = segment(number, SegmentKind.FREE, 10, hour=HOUR + number * ONE_HOUR)
        await insert_segments(connection, batch(one, start_millijoules=10 * (number - 1)))
    await become(connection, "atelier_housekeeper")
    await store_open_hours(connection, hours_max=10_000)
    await become(connection, "atelier_operator")

    found = await stored_hours(
        connection,
        gpu_id=GPU,
        start_time=HOUR + 2 * ONE_HOUR,
        end_time=HOUR + 4 * ONE_HOUR,
        after=GpuHour(GPU, HOUR + 2 * ONE_HOUR),
        limit=10,
    )

    assert [hour.hour_start_time for hour in found] == [HOUR + 3 * ONE_HOUR]


def of_gpu(hours: list[ReconciledHour]) -> list[ReconciledHour]:
    return [hour for hour in hours if hour.gpu_id == GPU]


def with_counter_at(sent: SegmentBatch, millijoules: int) -> SegmentBatch:
    reading = CounterReading(millijoules=millijoules, read_time=sent.end_reading.read_time)
    return replace(sent, end_reading=reading)


async def have_attempt_after_reset(connection: AsyncConnection, image: str) -> None:
    await connection.execute("RESET ROLE")
    await have_attempt(connection, image, None)
