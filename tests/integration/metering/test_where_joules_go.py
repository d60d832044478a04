"""Where a joule is booked, row by row: by what the GPU did, and by what became of the attempt.

The rows are those of the design's table "from the counter to the ledger". That a killed or silent
worker's time is SILENT, a restarted meter's UNKNOWN and an idle card's FREE or PARKED is shown in
tests/unit/metering/test_timeline.py, tests/unit/services/meter/test_metered_gpu.py and
tests/integration/services/meter/test_meter_process.py.
"""

from datetime import timedelta

import pytest
from psycopg import AsyncConnection

from metering.energy import SegmentKind
from metering.energy_hours import ReconciledHour, reconciliations
from metering.energy_store import image_energy, insert_segments
from tests.integration.fixture_types import Become
from tests.integration.metering.energy_samples import (
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

PARTS = ("images", "overhead", "in_progress", "parked", "free", "load", "unknown")


async def parts_of_hour(connection: AsyncConnection, become: Become) -> dict[str, int]:
    """The parts of the hour that are not zero, once all that is known adds up to the counter."""
    await become(connection, "atelier_operator")
    found = await reconciliations(connection, since_hour=HOUR, until_hour=HOUR + timedelta(hours=1))
    (hour,) = [one for one in found if one.gpu_id == GPU]
    assert hour.residual_millijoules == 0
    return {part: amount for part in PARTS if (amount := amount_of(hour, part))}


def amount_of(hour: ReconciledHour, part: str) -> int:
    return int(getattr(hour, f"{part}_millijoules"))


@pytest.mark.parametrize(
    ("outcome", "part"),
    [
        ("SUCCEEDED", "images"),
        ("FAILED", "overhead"),
        ("CANCELLED", "overhead"),
        ("BLOCKED", "overhead"),
        ("HANDED_BACK", "overhead"),
        ("EXPIRED", "overhead"),
        ("LOST", "overhead"),
        ("QUARANTINED", "in_progress"),
        (None, "in_progress"),
    ],
)
async def test_work_goes_where_the_outcome_of_its_attempt_says(
    connection: AsyncConnection, become: Become, outcome: str | None, part: str
) -> None:
    await have_attempt(connection, CAT, outcome)
    await become(connection, "atelier_meter_intake")

    work = segment(1, SegmentKind.WORK, 500, last_mark_number=1, shares=(share(500),))
    await insert_segments(connection, batch(work))

    assert await parts_of_hour(connection, become) == {part: 500}


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        (SegmentKind.LOAD, "load"),
        (SegmentKind.PARKED, "parked"),
        (SegmentKind.FREE, "free"),
        (SegmentKind.UNKNOWN, "unknown"),
        (SegmentKind.SILENT, "overhead"),
    ],
)
async def test_time_without_images_goes_where_its_kind_says(
    connection: AsyncConnection, become: Become, kind: SegmentKind, part: str
) -> None:
    await become(connection, "atelier_meter_intake")

    await insert_segments(connection, batch(segment(1, kind, 500)))

    assert await parts_of_hour(connection, become) == {part: 500}


async def test_an_image_that_is_drawn_again_is_charged_for_the_attempt_that_came_of_it(
    connection: AsyncConnection, become: Become
) -> None:
    await have_attempt(connection, CAT, "HANDED_BACK")
    await have_attempt(connection, CAT, "SUCCEEDED", attempt=2)
    await become(connection, "atelier_meter_intake")
    first = segment(1, SegmentKind.WORK, 300, last_mark_number=1, shares=(share(300),))
    second = segment(2, SegmentKind.WORK, 500, last_mark_number=2, shares=(share(500, attempt=2),))
    await insert_segments(connection, batch(first, second))

    assert await parts_of_hour(connection, become) == {"images": 500, "overhead": 300}
    energy = await image_energy(
        connection, image_id=CAT, attempt=2, gpu_id=GPU, session_id=SESSION, last_mark_number=2
    )
    assert energy.millijoules == 500


async def test_what_a_late_worker_burns_for_a_lost_attempt_is_its_tenants_overhead(
    connection: AsyncConnection, become: Become
) -> None:
    await have_attempt(connection, CAT, "LOST")
    await have_attempt(connection, CAT, "SUCCEEDED", attempt=2)
    await become(connection, "atelier_meter_intake")
    winner = segment(1, SegmentKind.WORK, 500, last_mark_number=1, shares=(share(500, attempt=2),))
    late = segment(2, SegmentKind.WORK, 70, last_mark_number=2, shares=(share(70),))

    await insert_segments(connection, batch(winner, late))

    assert await parts_of_hour(connection, become) == {"images": 500, "overhead": 70}


async def test_images_that_shared_a_step_part_its_energy_and_each_goes_its_own_way(
    connection: AsyncConnection, become: Become
) -> None:
    for image, outcome in (("won", "SUCCEEDED"), ("cancelled", "CANCELLED"), ("running", None)):
        await have_attempt(connection, image, outcome)
    await become(connection, "atelier_meter_intake")
    shares = (share(100, "cancelled"), share(200, "running"), share(400, "won"))

    work = segment(1, SegmentKind.WORK, 700, last_mark_number=1, shares=shares)
    await insert_segments(connection, batch(work))

    assert await parts_of_hour(connection, become) == {
        "images": 400,
        "overhead": 100,
        "in_progress": 200,
    }


async def test_what_names_no_attempt_of_its_own_tenant_is_that_tenants_overhead(
    connection: AsyncConnection, become: Become
) -> None:
    await become(connection, "atelier_meter_intake")

    invented = segment(1, SegmentKind.WORK, 90, last_mark_number=1, shares=(share(90, "nobodys"),))
    await insert_segments(connection, batch(invented))

    assert await parts_of_hour(connection, become) == {"overhead": 90}
