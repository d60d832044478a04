"""Segments in the real tables, with the real roles."""

from datetime import timedelta

import pytest
from psycopg import AsyncConnection
from psycopg.errors import RestrictViolation

from metering.energy_source import EnergySource
from metering.energy_store import has_mark, image_energy, insert_segments, last_reading
from metering.power import SegmentKind
from tests.integration.fixture_types import Become
from tests.integration.metering.energy_samples import (
    ACME,
    CAT,
    GPU,
    HOUR,
    SESSION,
    batch,
    have_attempt,
    segment,
    share,
)

pytestmark = pytest.mark.integration


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


async def test_a_stored_joule_is_never_changed_not_even_by_the_owner(
    connection: AsyncConnection, become: Become
) -> None:
    await become(connection, "atelier_meter_intake")
    await insert_segments(connection, batch(segment(1, SegmentKind.FREE, 100)))
    await become(connection, "atelier_owner")

    with pytest.raises(RestrictViolation):
        await connection.execute("UPDATE energy_segments SET millijoules = 0")
