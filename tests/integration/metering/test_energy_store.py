"""Segments in the real tables, with the real roles."""

from datetime import UTC, datetime, timedelta

import pytest
from psycopg import AsyncConnection
from psycopg.errors import RestrictViolation

from metering.energy import SegmentKind, Share
from metering.energy_records import CounterReading, EnergySegment, SegmentBatch
from metering.energy_source import EnergySource
from metering.energy_store import (
    HourReconciliation,
    has_mark,
    image_energy,
    insert_segments,
    last_reading,
    reconciliations,
)
from tenants.ids import GpuId, ImageId, SessionId, TenantId
from tests.integration.fixture_types import Become

pytestmark = pytest.mark.integration

HOUR = datetime(2031, 5, 1, 10, tzinfo=UTC)
GPU = GpuId("gpu-of-store")
ACME = TenantId("acme-of-store")
SESSION = SessionId("session-of-store")
CAT = ImageId("cat-of-store")


def segment(
    number: int,
    kind: SegmentKind,
    millijoules: int,
    *,
    last_mark_number: int = 0,
    shares: tuple[Share, ...] = (),
    hour: datetime = HOUR,
) -> EnergySegment:
    """One second of a timeline."""
    is_worker_there = kind not in (SegmentKind.FREE, SegmentKind.UNKNOWN)
    return EnergySegment(
        number=number,
        start_time=hour + timedelta(seconds=number - 1),
        end_time=hour + timedelta(seconds=number),
        millijoules=millijoules,
        error_millijoules=3,
        kind=kind,
        source=EnergySource.NVML_COUNTER,
        tenant_id=ACME if is_worker_there else None,
        session_id=SESSION if is_worker_there else None,
        last_mark_number=last_mark_number,
        shares=shares,
    )


def share(millijoules: int, image: str = CAT, attempt: int = 1, *, error: int = 3) -> Share:
    return Share(
        image_id=ImageId(image),
        attempt=attempt,
        millijoules=millijoules,
        error_millijoules=error,
    )


def batch(*segments: EnergySegment, start_millijoules: int = 0, epoch: int = 1) -> SegmentBatch:
    return SegmentBatch(
        gpu_id=GPU,
        epoch=epoch,
        segments=segments,
        start_reading=CounterReading(
            millijoules=start_millijoules, read_time=segments[0].start_time
        ),
        end_reading=CounterReading(
            millijoules=start_millijoules + sum(part.millijoules for part in segments),
            read_time=segments[-1].end_time,
        ),
        display_name="NVIDIA H200",
    )


async def have_attempt(
    connection: AsyncConnection, image: str, outcome: str | None, *, claim_time: datetime = HOUR
) -> None:
    """An attempt without the job it belongs to."""
    await connection.execute("SET LOCAL session_replication_role = replica")
    await connection.execute(
        "INSERT INTO attempts (tenant_id, image_id, attempt, job_id, session_id, claim_token,"
        " gpu_id, model, claim_time, outcome, end_time)"
        " VALUES (%s, %s, 1, 'job', %s, gen_random_uuid(), %s, 'mini', %s, %s,"
        " CASE WHEN %s::text IS NULL THEN NULL ELSE now() END)",
        (ACME, image, SESSION, GPU, claim_time, outcome, outcome),
    )
    await connection.execute("SET LOCAL session_replication_role = origin")


async def energy_of_cat(connection: AsyncConnection, *, last_mark_number: int) -> tuple[int, str]:
    energy = await image_energy(
        connection,
        image_id=CAT,
        attempt=1,
        gpu_id=GPU,
        session_id=SESSION,
        last_mark_number=last_mark_number,
    )
    return energy.millijoules, energy.source.value


async def test_segments_are_stored_once_in_the_order_of_their_numbers(
    connection: AsyncConnection, become: Become
) -> None:
    await become(connection, "atelier_meter_intake")
    first = batch(segment(1, SegmentKind.FREE, 100), segment(2, SegmentKind.PARKED, 200))
    overlapping = batch(
        segment(2, SegmentKind.PARKED, 200),
        segment(3, SegmentKind.PARKED, 50),
        start_millijoules=100,
    )
    with_a_gap = batch(segment(9, SegmentKind.FREE, 1))

    answers = [
        await insert_segments(connection, sent)
        for sent in (first, first, overlapping, with_a_gap, first)
    ]

    assert answers == [2, 2, 3, 3, 3]
    last = await last_reading(connection, GPU)
    assert last is not None
    assert (last.epoch, last.last_number, last.millijoules) == (1, 3, 350)
    assert last.read_time == HOUR + timedelta(seconds=3)
    assert last.source is EnergySource.NVML_COUNTER


async def test_the_last_reading_is_that_of_the_newest_epoch(
    connection: AsyncConnection, become: Become
) -> None:
    await become(connection, "atelier_meter_intake")
    assert await last_reading(connection, GPU) is None

    await insert_segments(connection, batch(segment(1, SegmentKind.FREE, 500)))
    await insert_segments(connection, batch(segment(1, SegmentKind.UNKNOWN, 20), epoch=2))

    last = await last_reading(connection, GPU)
    assert last is not None
    assert (last.epoch, last.last_number, last.millijoules) == (2, 1, 20)


async def test_an_image_gets_its_shares_and_waits_for_its_last_mark(
    connection: AsyncConnection, become: Become
) -> None:
    await have_attempt(connection, CAT, None, claim_time=HOUR + timedelta(seconds=1))
    await become(connection, "atelier_meter_intake")
    await insert_segments(
        connection,
        batch(
            segment(1, SegmentKind.PARKED, 100),
            segment(
                2, SegmentKind.WORK, 70, last_mark_number=4, shares=(share(30), share(40, "dog"))
            ),
            segment(3, SegmentKind.WORK, 50, last_mark_number=6, shares=(share(50, error=4),)),
        ),
    )
    await become(connection, "atelier_recorder", tenant_id=ACME)

    has_marks = [
        await has_mark(connection, gpu_id=GPU, session_id=SESSION, last_mark_number=number)
        for number in (4, 5, 6, 7)
    ]

    assert has_marks == [True, True, True, False]
    assert await energy_of_cat(connection, last_mark_number=6) == (80, "NVML_COUNTER")
    assert await energy_of_cat(connection, last_mark_number=7) == (80, "PARTIAL")
    energy = await image_energy(
        connection, image_id=CAT, attempt=1, gpu_id=GPU, session_id=SESSION, last_mark_number=6
    )
    assert energy.error_millijoules == 5


async def test_an_attempt_that_never_reached_the_device_has_no_energy(
    connection: AsyncConnection, become: Become
) -> None:
    await become(connection, "atelier_recorder", tenant_id=ACME)

    assert await energy_of_cat(connection, last_mark_number=0) == (0, "NONE")


async def test_time_that_was_not_watched_makes_an_images_energy_partial(
    connection: AsyncConnection, become: Become
) -> None:
    await have_attempt(connection, CAT, None, claim_time=HOUR + timedelta(seconds=1))
    await become(connection, "atelier_meter_intake")
    await insert_segments(
        connection,
        batch(
            segment(1, SegmentKind.PARKED, 100),
            segment(2, SegmentKind.SILENT, 70, last_mark_number=1),
            segment(3, SegmentKind.WORK, 50, last_mark_number=2, shares=(share(50),)),
        ),
    )
    await become(connection, "atelier_recorder", tenant_id=ACME)

    assert await energy_of_cat(connection, last_mark_number=2) == (50, "PARTIAL")


async def test_an_attempt_that_began_before_the_meter_did_is_partial(
    connection: AsyncConnection, become: Become
) -> None:
    await have_attempt(connection, CAT, None, claim_time=HOUR - timedelta(seconds=1))
    await become(connection, "atelier_meter_intake")
    await insert_segments(
        connection,
        batch(
            segment(1, SegmentKind.UNKNOWN, 100),
            segment(2, SegmentKind.WORK, 50, last_mark_number=2, shares=(share(50),)),
        ),
    )
    await become(connection, "atelier_recorder", tenant_id=ACME)

    assert await energy_of_cat(connection, last_mark_number=2) == (50, "PARTIAL")


async def test_an_attempt_whose_parts_lie_in_two_epochs_is_partial(
    connection: AsyncConnection, become: Become
) -> None:
    await have_attempt(connection, CAT, None, claim_time=HOUR)
    await become(connection, "atelier_meter_intake")
    one = segment(1, SegmentKind.WORK, 50, last_mark_number=2, shares=(share(50),))
    two = segment(1, SegmentKind.WORK, 60, last_mark_number=3, shares=(share(60),))
    await insert_segments(connection, batch(one))
    await insert_segments(connection, batch(two, epoch=2))
    await become(connection, "atelier_recorder", tenant_id=ACME)

    assert await energy_of_cat(connection, last_mark_number=3) == (110, "PARTIAL")


async def test_a_tenant_does_not_see_the_energy_of_another(
    connection: AsyncConnection, become: Become
) -> None:
    await become(connection, "atelier_meter_intake")
    work = segment(1, SegmentKind.WORK, 50, last_mark_number=1, shares=(share(50),))
    await insert_segments(connection, batch(work))
    await become(connection, "atelier_recorder", tenant_id="somebody-else")

    assert await energy_of_cat(connection, last_mark_number=1) == (0, "PARTIAL")


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

    assert hour == HourReconciliation(
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
    )
    assert hour.residual_millijoules == 0


async def test_what_the_counter_says_and_nobody_was_booked_for_is_seen(
    connection: AsyncConnection, become: Become
) -> None:
    await become(connection, "atelier_meter_intake")
    sent = batch(segment(1, SegmentKind.FREE, 100))
    more = CounterReading(millijoules=130, read_time=sent.end_reading.read_time)
    await insert_segments(
        connection,
        SegmentBatch(
            gpu_id=sent.gpu_id,
            epoch=sent.epoch,
            segments=sent.segments,
            start_reading=sent.start_reading,
            end_reading=more,
            display_name=sent.display_name,
        ),
    )
    await become(connection, "atelier_operator")

    hours = await reconciliations(connection, since_hour=HOUR, until_hour=HOUR + timedelta(hours=1))

    assert [hour.residual_millijoules for hour in hours if hour.gpu_id == GPU] == [30]


async def test_a_stored_joule_is_never_changed_not_even_by_the_owner(
    connection: AsyncConnection, become: Become
) -> None:
    await become(connection, "atelier_meter_intake")
    await insert_segments(connection, batch(segment(1, SegmentKind.FREE, 100)))
    await become(connection, "atelier_owner")

    with pytest.raises(RestrictViolation):
        await connection.execute("UPDATE energy_segments SET millijoules = 0")
