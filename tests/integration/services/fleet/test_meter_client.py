"""The fleet asks the meter over a real socket; the card behind it is a fake one."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from metering.cpu_energy import AttachedProcesses
from metering.energy_counter import CounterFacts
from metering.energy_source import EnergySource
from metering.errors import CounterUnavailableError
from metering.gpu_sensors import CardFacts, GpuSensors, SensorSample
from metering.power import PowerModel
from services.fleet.errors import MeterUnavailableError
from services.fleet.inventory import GpuKind
from services.fleet.meter_client import MeterClient
from services.meter.device_service import DeviceService, DeviceSocket
from services.meter.devices import Device
from services.transport.callees import socket_callee
from tenants.ids import GpuId

WARM = SensorSample(
    temperature_celsius=71.0,
    power_watts=612.5,
    memory_used_bytes=None,
    utilization=0.93,
    clock_megahertz=1_455,
    throttle_reasons=("SW_POWER_CAP",),
)


class Counter:
    """Never read here."""

    facts = CounterFacts(
        source=EnergySource.NVML_COUNTER,
        display_name="NVIDIA H200",
        refresh_nanos=100_000_000,
        counts_alone=True,
    )

    def read(self, now_nanos: int) -> int:
        return now_nanos


class Sensors:
    """Of a card that is warm, or does not answer."""

    facts = CardFacts(device_uuid="GPU-5a", memory_bytes=1000)

    def __init__(self) -> None:
        self.is_lost = False

    def read(self) -> SensorSample:
        if self.is_lost:
            raise CounterUnavailableError("NVML: GPU is lost")
        return WARM


def devices(sensors: GpuSensors) -> Mapping[GpuId, Device]:
    def device(gpu_id: str, own: GpuSensors | None) -> Device:
        return Device(
            gpu_id=GpuId(gpu_id),
            counter=Counter(),
            power=PowerModel(
                idle_watts=1.0, free_watts=0.5, load_watts=2.0, joules_per_work_unit=0.1
            ),
            processes=AttachedProcesses(),
            poll_nanos=1,
            refresh_nanos=0,
            timing_nanos=1.0,
            is_always_there=True,
            sensors=own,
        )

    return {GpuId("gpu-0"): device("gpu-0", sensors), GpuId("cpu-0"): device("cpu-0", None)}


async def test_a_card_is_told_by_its_name_with_what_its_sensors_say(short_directory: Path) -> None:
    path = short_directory / "meter.sock"
    async with (
        DeviceSocket(DeviceService(devices(Sensors())), path),
        MeterClient(socket_callee(path)) as meter,
    ):
        card, processor = await meter.list_gpus()

    assert (card.gpu_id, card.kind, card.device_uuid) == ("gpu-0", GpuKind.NVIDIA, "GPU-5a")
    assert (card.display_name, card.memory_bytes) == ("NVIDIA H200", 1000)
    assert card.sample is not None
    assert card.sample.temperature_celsius == 71.0
    assert card.sample.memory_used_bytes is None
    assert card.sample.clock_megahertz == 1_455
    assert card.sample.throttle_reasons == ("SW_POWER_CAP",)
    assert (processor.kind, processor.sample) == (GpuKind.PROCESSOR, None)


async def test_a_card_that_does_not_answer_is_told_without_a_sample(short_directory: Path) -> None:
    path = short_directory / "meter.sock"
    sensors = Sensors()
    sensors.is_lost = True
    async with (
        DeviceSocket(DeviceService(devices(sensors)), path),
        MeterClient(socket_callee(path)) as meter,
    ):
        card, _ = await meter.list_gpus()

    assert card.device_uuid == "GPU-5a"
    assert card.sample is None


async def test_a_meter_that_is_not_there_is_told(short_directory: Path) -> None:
    async with MeterClient(socket_callee(short_directory / "meter.sock")) as meter:
        with pytest.raises(MeterUnavailableError):
            await meter.list_gpus()
