import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pynvml  # pyright: ignore[reportMissingTypeStubs]
import pytest

from metering import nvml
from metering.cpu_energy import AttachedProcesses, EstimatedCounter
from metering.energy_source import EnergySource
from metering.errors import CounterUnavailableError, CounterUnsupportedError
from metering.gpu_sensors import CardFacts, SensorSample
from metering.nvml_driver import SliceAttributes
from metering.power_integral import PowerIntegral
from metering.rapl import open_rapl

SECOND = 1_000_000_000


@dataclass
class Memory:
    """As the driver tells it."""

    total: int
    used: int


@dataclass
class Rates:
    """As the driver tells them."""

    gpu: int


class FakeDriver:
    """pynvml of a host with one card; what it answers was read off an H200."""

    def __init__(self) -> None:
        self.millijoules = 3_172_840_116
        self.milliwatts = 124_310
        self.mig_modes = [pynvml.NVML_DEVICE_MIG_DISABLE, pynvml.NVML_DEVICE_MIG_DISABLE]
        # Idle.
        self.reasons = 0x1
        self.failing: dict[str, int] = {}

    def nvmlInit(self) -> None:
        self._maybe_fail("init")

    def nvmlSystemGetDriverVersion(self) -> str | bytes:
        return "580.95.05"

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> object:
        return ("handle", index)

    def nvmlDeviceGetName(self, handle: object) -> str | bytes:
        return b"NVIDIA H200"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object) -> int:
        self._maybe_fail("energy")
        return self.millijoules

    def nvmlDeviceGetPowerUsage(self, handle: object) -> int:
        self._maybe_fail("power")
        return self.milliwatts

    def nvmlDeviceGetMigMode(self, handle: object) -> list[int]:
        self._maybe_fail("mig")
        return self.mig_modes

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: object) -> int:
        return 0

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: object, index: int) -> object:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

    def nvmlDeviceGetGpuInstanceId(self, handle: object) -> int:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def nvmlDeviceGetAttributes(self, handle: object) -> SliceAttributes:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def nvmlDeviceGetUUID(self, handle: object) -> str | bytes:
        return "GPU-5a1c0ffe-0000-4000-8000-000000000001"

    def nvmlDeviceGetMemoryInfo(self, handle: object) -> Memory:
        self._maybe_fail("memory")
        return Memory(total=150_754_820_096, used=35_433_480_192)

    def nvmlDeviceGetTemperature(self, handle: object, sensor: int) -> int:
        self._maybe_fail("temperature")
        return 43

    def nvmlDeviceGetUtilizationRates(self, handle: object) -> Rates:
        self._maybe_fail("utilization")
        return Rates(gpu=87)

    def nvmlDeviceGetClockInfo(self, handle: object, clock: int) -> int:
        self._maybe_fail("clock")
        assert clock == pynvml.NVML_CLOCK_SM
        return 1_980

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: object) -> int:
        self._maybe_fail("reasons")
        return self.reasons

    def _maybe_fail(self, what: str) -> None:
        if what in self.failing:
            raise pynvml.NVMLError(self.failing[what])


def test_a_gpu_is_read_by_its_energy_counter() -> None:
    (counter,) = nvml.open_counters(FakeDriver())

    assert counter.read(0) == 3_172_840_116
    assert counter.facts.source is EnergySource.NVML_COUNTER
    assert counter.facts.display_name == "NVIDIA H200"
    assert counter.facts.counts_alone


def test_a_host_without_a_driver_has_no_gpus() -> None:
    driver = FakeDriver()
    driver.failing["init"] = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND

    assert nvml.open_counters(driver) == []


def test_a_driver_that_does_not_answer_is_told_apart_from_none() -> None:
    driver = FakeDriver()
    driver.failing["init"] = pynvml.NVML_ERROR_TIMEOUT

    with pytest.raises(CounterUnavailableError):
        nvml.open_counters(driver)


def test_a_card_without_the_counter_is_served_by_its_power() -> None:
    driver = FakeDriver()
    driver.failing["energy"] = pynvml.NVML_ERROR_NOT_SUPPORTED

    (counter,) = nvml.open_counters(driver)

    assert counter.facts.source is EnergySource.NVML_POWER
    assert [counter.read(0), counter.read(2 * SECOND)] == [0, 248_620]


def test_the_sensors_of_a_card_are_read_with_its_name() -> None:
    driver = FakeDriver()
    # SW thermal slowdown, HW slowdown and an idle GPU, by the driver's bits.
    driver.reasons = 0x20 | 0x8 | 0x1

    (sensors,) = nvml.open_sensors(driver)

    assert sensors.facts == CardFacts(
        device_uuid="GPU-5a1c0ffe-0000-4000-8000-000000000001", memory_bytes=150_754_820_096
    )
    assert sensors.read() == SensorSample(
        temperature_celsius=43,
        power_watts=124.31,
        memory_used_bytes=35_433_480_192,
        utilization=0.87,
        clock_megahertz=1_980,
        throttle_reasons=("SW_THERMAL_SLOWDOWN", "HW_SLOWDOWN"),
    )


def test_a_sensor_that_a_card_lacks_is_told_as_none() -> None:
    driver = FakeDriver()
    for what in ("temperature", "power", "memory", "utilization", "clock", "reasons"):
        driver.failing[what] = pynvml.NVML_ERROR_NOT_SUPPORTED

    (sensors,) = nvml.open_sensors(driver)

    assert sensors.read() == SensorSample(
        temperature_celsius=None,
        power_watts=None,
        memory_used_bytes=None,
        utilization=None,
        clock_megahertz=None,
        throttle_reasons=(),
    )


def test_sensors_of_a_driver_that_does_not_answer_raise() -> None:
    driver = FakeDriver()
    (sensors,) = nvml.open_sensors(driver)
    driver.failing["temperature"] = pynvml.NVML_ERROR_GPU_IS_LOST

    with pytest.raises(CounterUnavailableError):
        sensors.read()


def test_a_card_split_by_mig_is_told_as_estimated() -> None:
    driver = FakeDriver()
    driver.mig_modes = [pynvml.NVML_DEVICE_MIG_ENABLE, pynvml.NVML_DEVICE_MIG_ENABLE]

    (counter,) = nvml.open_counters(driver)

    assert counter.facts.source is EnergySource.ESTIMATED
    assert "MIG" in counter.facts.display_name


def test_a_card_that_cannot_be_split_is_a_whole_one() -> None:
    driver = FakeDriver()
    driver.failing["mig"] = pynvml.NVML_ERROR_NOT_SUPPORTED

    (counter,) = nvml.open_counters(driver)

    assert counter.facts.source is EnergySource.NVML_COUNTER


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (pynvml.NVML_ERROR_GPU_IS_LOST, CounterUnavailableError),
        (pynvml.NVML_ERROR_UNKNOWN, CounterUnavailableError),
        (pynvml.NVML_ERROR_NOT_SUPPORTED, CounterUnsupportedError),
        (pynvml.NVML_ERROR_CORRUPTED_INFOROM, CounterUnavailableError),
    ],
)
def test_every_error_of_the_driver_has_a_meaning(code: int, error: type[Exception]) -> None:
    driver = FakeDriver()
    (counter,) = nvml.open_counters(driver)
    driver.failing["energy"] = code

    with pytest.raises(error):
        counter.read(0)


def test_power_is_integrated_by_trapezoids() -> None:
    watts = iter([100.0, 200.0, 200.0])
    counter = PowerIntegral(lambda: next(watts), source=EnergySource.NVML_POWER, display_name="")

    counted = [counter.read(nanos) for nanos in (0, SECOND, 3 * SECOND)]

    assert counted == [0, 150_000, 550_000]


@pytest.fixture
def powercap(tmp_path: Path) -> Callable[[str, int], None]:
    def write(name: str, microjoules: int) -> None:
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "energy_uj").write_text(f"{microjoules}\n")
        (tmp_path / name / "max_energy_range_uj").write_text("262143328850\n")

    return write


def test_rapl_adds_up_packages_and_survives_their_wrap(
    tmp_path: Path, powercap: Callable[[str, int], None]
) -> None:
    powercap("intel-rapl:0", 262_143_000_000)
    powercap("intel-rapl:1", 5_000)
    powercap("intel-rapl:0:0", 77)
    counter = open_rapl(tmp_path)
    assert counter is not None

    powercap("intel-rapl:0", 671_150)
    powercap("intel-rapl:1", 2_005_000)

    assert counter.read(0) == 3_000
    assert counter.facts.source is EnergySource.RAPL


def test_a_machine_without_readable_rapl_has_no_such_counter(tmp_path: Path) -> None:
    assert open_rapl(tmp_path) is None

    (tmp_path / "intel-rapl:0").mkdir()
    assert open_rapl(tmp_path) is None


def stat_of(process_id: int, *, user: int, system: int, start: int = 99) -> str:
    """A line as proc(5) tells it, of a process with an awkward name."""
    return f"{process_id} (a) b) S 1 1 1 0 -1 0 0 0 0 0 {user} {system} 7 7 20 0 4 0 {start} 0 0\n"


def write_stat(proc: Path, process_id: int, text: str) -> None:
    (proc / str(process_id)).mkdir(exist_ok=True)
    (proc / str(process_id) / "stat").write_text(text)


def test_the_model_counts_idle_time_and_cpu_seconds_while_a_process_is_attached(
    tmp_path: Path,
) -> None:
    tick = os.sysconf("SC_CLK_TCK")
    processes = AttachedProcesses(tmp_path)
    counter = EstimatedCounter(processes, start_nanos=0, idle_watts=1.5, joules_per_cpu_second=4.0)
    write_stat(tmp_path, 42, stat_of(42, user=50 * tick, system=0))

    alone = counter.read(2 * SECOND)
    processes.attach(42)
    write_stat(tmp_path, 42, stat_of(42, user=51 * tick, system=2 * tick))
    attached = counter.read(2 * SECOND)
    write_stat(tmp_path, 42, stat_of(42, user=52 * tick, system=2 * tick))
    processes.detach(42)
    write_stat(tmp_path, 42, stat_of(42, user=99 * tick, system=2 * tick))
    detached = counter.read(2 * SECOND)

    assert [alone, attached, detached] == [3_000, 15_000, 19_000]
    assert counter.facts.source is EnergySource.ESTIMATED


def test_a_process_with_two_connections_counts_once_and_stays_until_both_are_gone(
    tmp_path: Path,
) -> None:
    processes = AttachedProcesses(tmp_path)
    write_stat(tmp_path, 42, stat_of(42, user=100, system=0))
    processes.attach(42)
    processes.attach(42)
    processes.detach(42)

    write_stat(tmp_path, 42, stat_of(42, user=130, system=0))

    assert processes.cpu_ticks() == 30


def test_a_reused_process_number_does_not_bring_its_past_along(tmp_path: Path) -> None:
    processes = AttachedProcesses(tmp_path)
    write_stat(tmp_path, 42, stat_of(42, user=100, system=0))
    processes.attach(42)

    write_stat(tmp_path, 42, stat_of(42, user=900, system=0, start=777))
    after_reuse = processes.cpu_ticks()
    write_stat(tmp_path, 42, stat_of(42, user=910, system=0, start=777))

    assert [after_reuse, processes.cpu_ticks()] == [0, 10]


def test_a_process_that_died_counts_no_more_and_no_less(tmp_path: Path) -> None:
    processes = AttachedProcesses(tmp_path)
    processes.attach(4711)

    assert processes.cpu_ticks() == 0


def test_the_cpu_time_of_this_very_process_is_seen() -> None:
    processes = AttachedProcesses()
    processes.attach(os.getpid())

    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass

    assert processes.cpu_ticks() * 10 >= 0.08 * os.sysconf("SC_CLK_TCK")
