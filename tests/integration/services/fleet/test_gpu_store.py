"""The inventory of GPUs in the real tables, with the fleet's own role."""

from datetime import UTC, datetime

import pytest
from psycopg import AsyncConnection

from services.fleet.gpu_store import read_inventory, write_inventory, write_samples
from services.fleet.inventory import Gpu, GpuKind, GpuSample
from tests.integration.fixture_types import Become

CARD = Gpu(
    gpu_id="gpu-60",
    kind=GpuKind.NVIDIA,
    device_uuid="GPU-5a",
    display_name="NVIDIA H200",
    memory_bytes=1000,
)
SHARE = Gpu(gpu_id="cpu-60", kind=GpuKind.PROCESSOR)


@pytest.fixture
async def fleet(connection: AsyncConnection, become: Become) -> AsyncConnection:
    await become(connection, "atelier_fleet")
    return connection


async def test_the_inventory_is_what_was_written_last(fleet: AsyncConnection) -> None:
    await write_inventory(fleet, [CARD, SHARE], duty_cycles={"gpu-60": 0.9, "cpu-60": 1.0})
    both = await read_inventory(fleet)

    await write_inventory(fleet, [SHARE], duty_cycles={"cpu-60": 1.0})

    assert both == [SHARE, CARD]
    assert await read_inventory(fleet) == [SHARE]


async def test_the_pace_of_a_gpu_is_what_heartbeats_tell(
    fleet: AsyncConnection, become: Become
) -> None:
    await write_inventory(fleet, [CARD], duty_cycles={"gpu-60": 0.42})

    await become(fleet, "atelier_recorder")
    cursor = await fleet.execute(b"SELECT duty_cycle FROM gpus WHERE gpu_id = 'gpu-60'")

    assert await cursor.fetchone() == (0.42,)


async def test_a_sample_overwrites_the_one_before(fleet: AsyncConnection) -> None:
    def sampled(celsius: float, second: int) -> Gpu:
        return Gpu(
            gpu_id="gpu-60",
            kind=GpuKind.NVIDIA,
            sample=GpuSample(
                temperature_celsius=celsius,
                power_watts=None,
                memory_used_bytes=5,
                utilization=0.5,
                clock_megahertz=1_500 + second,
                throttle_reasons=("HW_SLOWDOWN",),
                sample_time=datetime(2026, 1, 1, 8, 0, second, tzinfo=UTC),
            ),
        )

    await write_samples(fleet, [sampled(60.0, 1), SHARE])
    await write_samples(fleet, [sampled(61.0, 2)])

    cursor = await fleet.execute(
        b"SELECT temperature_celsius, power_watts, clock_megahertz, throttle_reasons"
        b" FROM gpu_samples WHERE gpu_id IN ('gpu-60', 'cpu-60')"
    )
    assert await cursor.fetchall() == [(61.0, None, 1_502, ["HW_SLOWDOWN"])]
