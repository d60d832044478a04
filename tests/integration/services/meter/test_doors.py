"""Doors that cannot be opened at first: nothing of them stays open, and they are tried again."""

import asyncio
from pathlib import Path

import pytest

from metering.cpu_energy import AttachedProcesses
from metering.energy_counter import CounterFacts
from metering.energy_records import LastReading, SegmentBatch
from metering.energy_source import EnergySource
from metering.power import PowerModel
from services.meter.devices import Device
from services.meter.door import Door
from services.meter.doors import Doors
from services.meter.metered_gpu import MeteredGpu
from tenants.ids import GpuId, TenantId
from tenants.run_directory import RunDirectory
from tests.integration.installation import eventually

pytestmark = pytest.mark.integration

TENANT = TenantId("acme")
GPU = GpuId("gpu-0")


class Counter:
    """A counter that stands still."""

    facts = CounterFacts(
        source=EnergySource.NVML_COUNTER,
        display_name="NVIDIA H200",
        refresh_nanos=100_000_000,
        counts_alone=True,
    )

    def read(self, now_nanos: int) -> int:
        return 5_000_000


class Store:
    """A recorder that keeps nothing."""

    async def last_reading(self, gpu_id: GpuId) -> LastReading | None:
        return None

    async def record_segments(self, batch: SegmentBatch) -> int:
        return batch.segments[-1].number


@pytest.fixture
async def gpu() -> MeteredGpu:
    device = Device(
        gpu_id=GPU,
        counter=Counter(),
        power=PowerModel(
            idle_watts=100.0, free_watts=100.0, load_watts=300.0, joules_per_work_unit=1.0
        ),
        processes=AttachedProcesses(),
        poll_nanos=50_000_000,
        refresh_nanos=0,
        timing_nanos=0.0,
        is_always_there=True,
    )
    gpu = MeteredGpu(device, Store())
    await gpu.start()
    return gpu


@pytest.fixture
def run_directory(short_directory: Path) -> RunDirectory:
    run = RunDirectory(short_directory)
    run.gpu_directory(TENANT, GPU).mkdir(parents=True)
    return run


async def test_a_door_that_cannot_listen_leaves_no_server_behind(
    gpu: MeteredGpu, run_directory: RunDirectory
) -> None:
    outer = run_directory.marks_socket(TENANT, GPU)
    inner = run_directory.path / "1.sock"
    # A folder where the socket should be cannot be replaced by it.
    outer.mkdir()
    door = Door(gpu=gpu, tenant_id=TENANT, socket_path=outer, inner_path=inner)

    with pytest.raises(OSError, match=r"meter\.sock"):
        await door.open()

    assert not inner.exists()
    outer.rmdir()
    await door.open()
    assert door.is_in_place()
    await door.close()


async def test_doors_are_tried_again_until_their_inner_sockets_can_be_bound(
    gpu: MeteredGpu, run_directory: RunDirectory
) -> None:
    outer = run_directory.marks_socket(TENANT, GPU)
    inner_directory = run_directory.path / "inner"
    doors = Doors(run_directory, {GPU: gpu}, inner_directory)

    async def opened() -> bool | None:
        return outer.is_socket() or None

    watch = asyncio.create_task(doors.watch())
    # Long enough for the first look, which finds no folder for its socket.
    await asyncio.sleep(0.1)
    assert not watch.done()
    inner_directory.mkdir()

    await eventually(opened, what="a door that opened")
    watch.cancel()
    await asyncio.wait({watch})
    await doors.close()


async def test_a_door_whose_opening_is_broken_off_leaves_no_socket_open(
    gpu: MeteredGpu, run_directory: RunDirectory
) -> None:
    outer = run_directory.marks_socket(TENANT, GPU)
    door = Door(
        gpu=gpu,
        tenant_id=TENANT,
        socket_path=outer,
        inner_path=run_directory.path / "1.sock",
    )

    opening = asyncio.create_task(door.open())
    while not outer.exists():
        await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait({opening})

    assert opening.cancelled()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_unix_connection(outer)
