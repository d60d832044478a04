"""The duty that stores the energy of each GPU and hour, as the housekeeper's own role."""

import secrets
from dataclasses import replace
from datetime import timedelta

import pytest
from psycopg import AsyncConnection
from structlog.testing import capture_logs

from metering.energy import SegmentKind
from metering.energy_records import CounterReading
from metering.energy_store import insert_segments
from services.housekeeper.energy_hours import EnergyHours
from tenants.ids import GpuId
from tests.integration.fixture_types import Pools, Postgres
from tests.integration.metering.energy_samples import HOUR, batch, segment

pytestmark = pytest.mark.integration

ONE_HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("unbooked_millijoules", "event"), [(0, "energy_hour_sealed"), (30, "energy_residual")]
)
async def test_an_hour_that_is_over_is_sealed_or_its_residual_is_an_error(
    postgres: Postgres, pools: Pools, unbooked_millijoules: int, event: str
) -> None:
    gpu_id = GpuId(f"gpu-{secrets.token_hex(6)}")
    first = replace(batch(segment(1, SegmentKind.FREE, 100)), gpu_id=gpu_id)
    shown = CounterReading(
        millijoules=100 + unbooked_millijoules, read_time=first.end_reading.read_time
    )
    later = segment(2, SegmentKind.FREE, 7, hour=HOUR + ONE_HOUR)
    second = replace(batch(later, start_millijoules=shown.millijoules), gpu_id=gpu_id)
    async with await AsyncConnection.connect(postgres.admin_url) as connection:
        await insert_segments(connection, replace(first, end_reading=shown))
        await insert_segments(connection, second)

    async with pools("atelier_housekeeper") as pool:
        with capture_logs() as logs:
            await EnergyHours(pool).sweep()
            await EnergyHours(pool).sweep()

    told = [(log["event"], log["hour"]) for log in logs if log.get("gpu") == gpu_id]
    # What is sealed is left alone; what is wrong is told until it is right.
    assert told == [(event, HOUR.isoformat())] * (1 if unbooked_millijoules == 0 else 2)
