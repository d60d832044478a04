"""A finished image waits for its last segment, so that its receipt knows the joules."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from secrets import token_hex

import pytest

from database.pool import open_pool, tenant_transaction
from metering.energy import Share
from metering.energy_records import CounterReading, EnergySegment, SegmentBatch
from metering.energy_source import EnergySource
from metering.power import SegmentKind
from metering.usage_records import UsageRecord, get_receipts
from services.housekeeper.late_energy import LateEnergy
from services.housekeeper.usage_roll_ups import UsageRollUps
from services.meter.recorder_client import RecorderClient
from services.transport.callees import socket_callee
from services.worker.work import HeldAttempt
from tenants.ids import GpuId, ImageId, SessionId
from tenants.run_directory import RunDirectory
from tests.integration.installation import Process, Studio, spec, until_served
from tests.integration.services.recorder.session import Session, drawn

pytestmark = pytest.mark.integration

LAST_MARK = 5


@pytest.fixture
def recorder_settings() -> dict[str, object]:
    return {"energy_wait_seconds": 2.0}


def batch(session: Session, studio: Studio, held: HeldAttempt) -> SegmentBatch:
    """A segment while the session was parked, then one of work on the attempt: 9 J."""
    end = datetime.now(UTC)
    hour = end.replace(minute=0, second=0, microsecond=0)
    begin = max(hour, end - timedelta(minutes=5))
    gpu_id = GpuId(f"cpu-{session.session_id}")
    parked = EnergySegment(
        number=1,
        start_time=begin,
        end_time=end - (end - begin) / 2,
        millijoules=1_000,
        error_millijoules=1,
        kind=SegmentKind.PARKED,
        source=EnergySource.ESTIMATED,
        tenant_id=studio.tenant_id,
        session_id=SessionId(session.session_id),
        last_mark_number=0,
    )
    work = replace(
        parked,
        number=2,
        start_time=parked.end_time,
        end_time=end,
        millijoules=9_000,
        kind=SegmentKind.WORK,
        last_mark_number=LAST_MARK,
        shares=(
            Share(
                image_id=ImageId(held.image_id),
                attempt=held.attempt,
                millijoules=9_000,
                error_millijoules=300,
            ),
        ),
    )
    return SegmentBatch(
        gpu_id=gpu_id,
        epoch=1,
        segments=(parked, work),
        start_reading=CounterReading(millijoules=0, read_time=begin),
        end_reading=CounterReading(millijoules=10_000, read_time=end),
        display_name="a processor",
    )


@pytest.fixture
async def session(run: RunDirectory, studio: Studio, recorder: Process) -> AsyncGenerator[Session]:
    """A session on a GPU that no other test knows."""
    await until_served(run.recorder_socket(studio.tenant_id))
    session_id = token_hex(8)
    session = Session(
        run.recorder_socket(studio.tenant_id), gpu_id=f"cpu-{session_id}", session_id=session_id
    )
    yield session
    session.close()


async def energy_of(studio: Studio, image_id: str) -> tuple[object, object]:
    rows = await studio.rows(
        "SELECT energy_millijoules, energy_source FROM usage_records WHERE image_id = %s", image_id
    )
    return rows[0]["energy_millijoules"], rows[0]["energy_source"]


async def test_a_result_waits_for_the_segment_of_its_last_mark(
    session: Session, studio: Studio, run: RunDirectory
) -> None:
    await studio.accept(spec())
    work = await session.claim()

    finish = asyncio.create_task(
        session.finish(replace(drawn(work.held), last_mark_number=LAST_MARK))
    )
    await asyncio.sleep(0.3)
    was_waiting = not finish.done()
    async with RecorderClient(socket_callee(run.recorder_meter_socket)) as meter:
        last_number = await meter.record_segments(batch(session, studio, work.held))

    assert was_waiting
    assert last_number == 2
    assert await finish
    assert await energy_of(studio, work.held.image_id) == (9_000, "ESTIMATED")


async def test_segments_stored_twice_count_once_and_the_last_reading_is_known(
    session: Session, studio: Studio, run: RunDirectory
) -> None:
    await studio.accept(spec())
    work = await session.claim()
    segments = batch(session, studio, work.held)

    async with RecorderClient(socket_callee(run.recorder_meter_socket)) as meter:
        numbers = [await meter.record_segments(segments) for _ in range(2)]
        reading = await meter.last_reading(segments.gpu_id)
        unknown = await meter.last_reading(GpuId("cpu-of-nobody"))

    assert numbers == [2, 2]
    assert unknown is None
    assert reading is not None
    assert (reading.epoch, reading.last_number, reading.millijoules) == (1, 2, 10_000)


async def test_without_its_segment_a_receipt_says_partial_and_is_not_held_up(
    session: Session, studio: Studio
) -> None:
    await studio.accept(spec())
    work = await session.claim()

    accepted = await session.finish(replace(drawn(work.held), last_mark_number=LAST_MARK))

    assert accepted
    assert await energy_of(studio, work.held.image_id) == (0, "PARTIAL")


async def receipt_of(studio: Studio, image_id: ImageId) -> UsageRecord:
    """What a member of the studio is shown."""
    async with (
        open_pool(studio.postgres.url("atelier_gateway"), size_max=1, application_name="t") as pool,
        tenant_transaction(pool, studio.tenant_id) as conn,
    ):
        receipts = await get_receipts(conn, tenant_id=studio.tenant_id, image_ids=[image_id])
    return receipts[image_id].usage


async def keep_house(studio: Studio) -> None:
    """What the housekeeper does every few seconds, for all tenants."""
    url = studio.postgres.url("atelier_housekeeper")
    async with open_pool(url, size_max=2, application_name="t") as pool:
        await UsageRollUps(pool).sweep()
        await LateEnergy(pool).sweep()


async def test_energy_that_comes_late_amends_the_receipt_and_never_the_price(
    session: Session, studio: Studio, run: RunDirectory
) -> None:
    await studio.accept(spec())
    work = await session.claim()
    image_id = ImageId(work.held.image_id)
    assert await session.finish(replace(drawn(work.held), last_mark_number=LAST_MARK))
    charged = await receipt_of(studio, image_id)

    async with RecorderClient(socket_callee(run.recorder_meter_socket)) as meter:
        await meter.record_segments(batch(session, studio, work.held))
    await keep_house(studio)
    amended = await receipt_of(studio, image_id)

    assert (charged.energy_millijoules, charged.energy_source) == (0, EnergySource.PARTIAL)
    assert (amended.energy_millijoules, amended.energy_source) == (9_000, EnergySource.ESTIMATED)
    assert amended.energy_error_millijoules == 300
    assert amended.price_nanos == charged.price_nanos
    assert await energy_of(studio, image_id) == (0, "PARTIAL"), "what was charged for is kept"
