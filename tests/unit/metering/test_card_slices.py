"""A card split by MIG: each slice is a device of its own, the card is none."""

from dataclasses import dataclass
from pathlib import Path

import pynvml  # pyright: ignore[reportMissingTypeStubs]
import pytest

from metering import nvml
from metering.energy_counter import EnergyCounter
from metering.energy_source import EnergySource
from metering.gpu_sensors import CardFacts
from services.meter.devices import find_devices
from services.meter.settings import Settings
from tests.unit.metering.test_counters import FakeDriver, Memory

# MIG device index: GPU instance, compute slices. Index 1 is a second compute instance of the first.
SLICES = {0: (1, 4), 1: (1, 4), 3: (5, 2), 6: (9, 1)}


@dataclass
class Attributes:
    """As the driver tells them."""

    gpuInstanceSliceCount: int  # noqa: N815


class SplitDriver(FakeDriver):
    """pynvml of a host with one card split into GPU instances of 4, 2 and 1 of seven."""

    def __init__(self, slices: dict[int, tuple[int, int]]) -> None:
        super().__init__()
        self.slices = slices
        self.mig_modes = [pynvml.NVML_DEVICE_MIG_ENABLE, pynvml.NVML_DEVICE_MIG_ENABLE]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: object) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: object, index: int) -> object:
        if index not in self.slices:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return index

    def nvmlDeviceGetGpuInstanceId(self, handle: object) -> int:
        assert isinstance(handle, int)
        return self.slices[handle][0]

    def nvmlDeviceGetAttributes(self, handle: object) -> Attributes:
        assert isinstance(handle, int)
        return Attributes(self.slices[handle][1])

    def nvmlDeviceGetUUID(self, handle: object) -> str | bytes:
        return f"MIG-{handle}" if isinstance(handle, int) else super().nvmlDeviceGetUUID(handle)

    def nvmlDeviceGetMemoryInfo(self, handle: object) -> Memory:
        assert isinstance(handle, int) or not self.slices
        return Memory(total=1000, used=10)


def test_each_slice_is_one_device_and_its_card_is_none() -> None:
    sensors = nvml.open_sensors(SplitDriver(SLICES))

    assert [one.facts for one in sensors] == [
        CardFacts(device_uuid="MIG-0", memory_bytes=1000, position="0-mig-1"),
        CardFacts(device_uuid="MIG-3", memory_bytes=1000, position="0-mig-5"),
        CardFacts(device_uuid="MIG-6", memory_bytes=1000, position="0-mig-9"),
    ]


def test_a_slice_tells_its_cards_heat_and_no_watts_that_nobody_measured() -> None:
    sample = nvml.open_sensors(SplitDriver(SLICES))[0].read()

    assert (sample.temperature_celsius, sample.power_watts, sample.memory_used_bytes) == (
        43,
        None,
        10,
    )


def test_the_slices_share_what_the_card_drew_by_size_as_an_estimate() -> None:
    driver = SplitDriver(SLICES)
    driver.millijoules = 7_000
    counters = nvml.open_counters(driver)

    assert [one.read(0) for one in counters] == [4_000, 2_000, 1_000]
    assert {one.facts.source for one in counters} == {EnergySource.ESTIMATED}
    assert not any(one.facts.counts_alone for one in counters)


def test_a_split_card_without_slices_is_metered_and_nobody_can_draw_on_it() -> None:
    driver = SplitDriver({})

    assert [one.facts.device_uuid for one in nvml.open_sensors(driver)] == [""]
    assert [one.facts.source for one in nvml.open_counters(driver)] == [EnergySource.ESTIMATED]


def unfollowed(_counter: EnergyCounter) -> int:
    return 0


def test_the_meters_devices_are_the_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counters, sensors = (
        nvml.open_counters(SplitDriver(SLICES)),
        nvml.open_sensors(SplitDriver(SLICES)),
    )
    monkeypatch.setattr(nvml, "open_counters", lambda: counters)
    monkeypatch.setattr(nvml, "open_sensors", lambda: sensors)
    monkeypatch.setattr("services.meter.devices._refresh_nanos", unfollowed)

    devices = find_devices(Settings(run_directory=tmp_path))

    assert list(devices) == ["gpu-0-mig-1", "gpu-0-mig-5", "gpu-0-mig-9"]
