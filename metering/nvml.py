"""NVIDIA's energy counters: the only module that speaks to the driver."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar, cast

import pynvml  # pyright: ignore[reportMissingTypeStubs] - it brings no types; Driver says them

from metering.energy_counter import CounterFacts, EnergyCounter
from metering.energy_source import EnergySource
from metering.errors import CounterError, CounterUnavailableError, CounterUnsupportedError
from metering.gpu_sensors import CardFacts, GpuSensors, SensorSample
from metering.power_integral import PowerIntegral

# Measured on an H200: nvmlDeviceGetTotalEnergyConsumption moves every 100.0 ms.
_REFRESH_NANOS: Final = 100_000_000

# Idling, and clocks that somebody set, are no signs of distress.
_THROTTLE_REASONS: Final[dict[int, str]] = {
    pynvml.nvmlClocksEventReasonSwPowerCap: "SW_POWER_CAP",
    pynvml.nvmlClocksEventReasonSwThermalSlowdown: "SW_THERMAL_SLOWDOWN",
    pynvml.nvmlClocksThrottleReasonHwSlowdown: "HW_SLOWDOWN",
    pynvml.nvmlClocksThrottleReasonHwThermalSlowdown: "HW_THERMAL_SLOWDOWN",
    pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown: "HW_POWER_BRAKE_SLOWDOWN",
    pynvml.nvmlClocksEventReasonSyncBoost: "SYNC_BOOST",
}

Answer = TypeVar("Answer")

# What a driver's error means for whoever reads; what is not listed is taken for passing.
_ERRORS: Final[dict[int, type[CounterError]]] = {
    pynvml.NVML_ERROR_NOT_SUPPORTED: CounterUnsupportedError,
    pynvml.NVML_ERROR_NO_PERMISSION: CounterUnsupportedError,
    pynvml.NVML_ERROR_NOT_FOUND: CounterUnsupportedError,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: CounterUnsupportedError,
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: CounterUnsupportedError,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: CounterUnsupportedError,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: CounterUnsupportedError,
    pynvml.NVML_ERROR_INVALID_ARGUMENT: CounterUnsupportedError,
    pynvml.NVML_ERROR_UNINITIALIZED: CounterUnavailableError,
    pynvml.NVML_ERROR_TIMEOUT: CounterUnavailableError,
    pynvml.NVML_ERROR_GPU_IS_LOST: CounterUnavailableError,
    pynvml.NVML_ERROR_RESET_REQUIRED: CounterUnavailableError,
    pynvml.NVML_ERROR_IN_USE: CounterUnavailableError,
    pynvml.NVML_ERROR_NOT_READY: CounterUnavailableError,
    pynvml.NVML_ERROR_UNKNOWN: CounterUnavailableError,
}


class MemoryInfo(Protocol):
    """The driver's answer, in bytes."""

    total: int
    used: int


class UtilizationRates(Protocol):
    """The driver's answer, in percent."""

    gpu: int


class Driver(Protocol):
    """The part of pynvml that is used; the real one is the module itself."""

    def nvmlInit(self) -> None: ...  # noqa: N802 - the driver's names
    def nvmlSystemGetDriverVersion(self) -> str | bytes: ...  # noqa: N802
    def nvmlDeviceGetCount(self) -> int: ...  # noqa: N802
    def nvmlDeviceGetHandleByIndex(self, index: int) -> object: ...  # noqa: N802
    def nvmlDeviceGetName(self, handle: object) -> str | bytes: ...  # noqa: N802
    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object) -> int: ...  # noqa: N802
    def nvmlDeviceGetPowerUsage(self, handle: object) -> int: ...  # noqa: N802
    def nvmlDeviceGetMigMode(self, handle: object) -> list[int]: ...  # noqa: N802


class SensorDriver(Driver, Protocol):
    """The part that reads a card's other sensors."""

    def nvmlDeviceGetUUID(self, handle: object) -> str | bytes: ...  # noqa: N802
    def nvmlDeviceGetMemoryInfo(self, handle: object) -> MemoryInfo: ...  # noqa: N802
    def nvmlDeviceGetTemperature(self, handle: object, sensor: int) -> int: ...  # noqa: N802
    def nvmlDeviceGetUtilizationRates(self, handle: object) -> UtilizationRates: ...  # noqa: N802
    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: object) -> int: ...  # noqa: N802


REAL_DRIVER: Final = cast("SensorDriver", pynvml)


@dataclass(frozen=True, slots=True)
class _Card:
    """One GPU of this host, by the driver's handle."""

    driver: Driver
    handle: object
    name: str


class NvmlCounter:
    """The energy counter of one GPU, Volta or newer.

    A card split by MIG has one counter for all its slices, so what it shows belongs to no single
    worker: such readings are told as ESTIMATED.
    """

    def __init__(self, card: _Card, *, is_split: bool) -> None:
        self._card = card
        self.facts = CounterFacts(
            source=EnergySource.ESTIMATED if is_split else EnergySource.NVML_COUNTER,
            display_name=f"{card.name} (split by MIG)" if is_split else card.name,
            refresh_nanos=_REFRESH_NANOS,
            counts_alone=True,
        )

    def read(self, now_nanos: int) -> int:
        return _energy_of(self._card)


class NvmlSensors:
    """The sensors of one GPU; nothing here changes the card's settings."""

    def __init__(self, driver: SensorDriver, handle: object) -> None:
        self._driver = driver
        self._handle = handle
        memory = _if_there(lambda: driver.nvmlDeviceGetMemoryInfo(handle))
        self.facts = CardFacts(
            device_uuid=_text(driver.nvmlDeviceGetUUID(handle)),
            memory_bytes=0 if memory is None else memory.total,
        )

    def read(self) -> SensorSample:
        driver, handle = self._driver, self._handle
        sensor = pynvml.NVML_TEMPERATURE_GPU
        milliwatts = _if_there(lambda: driver.nvmlDeviceGetPowerUsage(handle))
        memory = _if_there(lambda: driver.nvmlDeviceGetMemoryInfo(handle))
        rates = _if_there(lambda: driver.nvmlDeviceGetUtilizationRates(handle))
        reasons = _if_there(lambda: driver.nvmlDeviceGetCurrentClocksEventReasons(handle)) or 0
        return SensorSample(
            temperature_celsius=_if_there(lambda: driver.nvmlDeviceGetTemperature(handle, sensor)),
            power_watts=None if milliwatts is None else milliwatts / 1000,
            memory_used_bytes=None if memory is None else memory.used,
            utilization=None if rates is None else rates.gpu / 100,
            throttle_reasons=tuple(
                name for bit, name in _THROTTLE_REASONS.items() if reasons & bit
            ),
        )


def open_sensors(driver: SensorDriver = REAL_DRIVER) -> list[GpuSensors]:
    """Return the sensors of each GPU of this host, in the driver's order; none without a driver.

    Raises:
        CounterUnavailableError: There is a driver and it does not answer now.
    """
    try:
        return [NvmlSensors(driver, card.handle) for card in _cards(driver)]
    except pynvml.NVMLError as error:
        if _meaning(error) is CounterUnsupportedError:
            return []
        raise _told(error) from error


def open_counters(driver: Driver = REAL_DRIVER) -> list[EnergyCounter]:
    """Return a counter for each GPU of this host, in the driver's order; none without a driver.

    A card without the energy counter is served by its power, integrated.

    Raises:
        CounterUnavailableError: There is a driver and it does not answer now.
    """
    try:
        return [_counter_of(card) for card in _cards(driver)]
    except pynvml.NVMLError as error:
        if _meaning(error) is CounterUnsupportedError:
            return []
        raise _told(error) from error


def _cards(driver: Driver) -> list[_Card]:
    driver.nvmlInit()
    handles = [
        driver.nvmlDeviceGetHandleByIndex(index) for index in range(driver.nvmlDeviceGetCount())
    ]
    return [_Card(driver, handle, _text(driver.nvmlDeviceGetName(handle))) for handle in handles]


def _text(answer: str | bytes) -> str:
    return answer.decode() if isinstance(answer, bytes) else answer


def _if_there(ask: Callable[[], Answer]) -> Answer | None:
    """Return the driver's answer, None from a card that has no such thing."""
    try:
        return ask()
    except pynvml.NVMLError as error:
        if _meaning(error) is CounterUnsupportedError:
            return None
        raise _told(error) from error


def _counter_of(card: _Card) -> EnergyCounter:
    is_split = _is_split(card)
    try:
        _energy_of(card)
    except CounterUnsupportedError:
        return PowerIntegral(
            lambda: _watts_of(card),
            source=EnergySource.ESTIMATED if is_split else EnergySource.NVML_POWER,
            display_name=f"{card.name} (by its power)",
        )
    except CounterUnavailableError:
        # It has one and does not answer now: every later read asks again.
        pass
    return NvmlCounter(card, is_split=is_split)


def _energy_of(card: _Card) -> int:
    try:
        return card.driver.nvmlDeviceGetTotalEnergyConsumption(card.handle)
    except pynvml.NVMLError as error:
        raise _told(error) from error


def _watts_of(card: _Card) -> float:
    try:
        return card.driver.nvmlDeviceGetPowerUsage(card.handle) / 1000
    except pynvml.NVMLError as error:
        raise _told(error) from error


def _is_split(card: _Card) -> bool:
    try:
        current_mode, _pending_mode = card.driver.nvmlDeviceGetMigMode(card.handle)
    except pynvml.NVMLError:
        # Cards that cannot be split refuse the question.
        return False
    return current_mode == pynvml.NVML_DEVICE_MIG_ENABLE


def _meaning(error: Any) -> type[CounterError]:  # noqa: ANN401 - its value has no type
    return _ERRORS.get(error.value, CounterUnavailableError)


def _told(error: Any) -> CounterError:  # noqa: ANN401 - its value has no type
    return _meaning(error)(f"NVML: {error}")
