"""NVIDIA's energy counters: the only module that speaks to the driver."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import pynvml  # pyright: ignore[reportMissingTypeStubs] - it brings no types; Driver says them

from metering.card_slices import SliceCounter
from metering.energy_counter import CounterFacts, EnergyCounter
from metering.energy_source import EnergySource
from metering.errors import CounterError, CounterUnavailableError, CounterUnsupportedError
from metering.gpu_sensors import CardFacts, GpuSensors, SensorSample
from metering.nvml_driver import Driver, SensorDriver
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


REAL_DRIVER: Final = cast("SensorDriver", pynvml)


@dataclass(frozen=True, slots=True)
class _Card:
    """One GPU of this host, by the driver's handle."""

    driver: Driver
    handle: object
    name: str
    # Where the driver lists it.
    position: str
    is_split: bool


@dataclass(frozen=True, slots=True)
class _Slice:
    """One GPU instance of a card split by MIG: memory and processors of its own."""

    handle: object
    name: str
    position: str
    # In compute slices of the card.
    size: int


class NvmlCounter:
    """The energy counter of one GPU, Volta or newer.

    A card split by MIG has one counter for all its slices, so what it shows belongs to no single
    worker: such readings are told as ESTIMATED.
    """

    def __init__(self, card: _Card) -> None:
        self._card = card
        self.facts = CounterFacts(
            source=EnergySource.ESTIMATED if card.is_split else EnergySource.NVML_COUNTER,
            display_name=f"{card.name} (split by MIG)" if card.is_split else card.name,
            refresh_nanos=_REFRESH_NANOS,
            counts_alone=True,
        )

    def read(self, now_nanos: int) -> int:
        return _energy_of(self._card)


class NvmlSensors:
    """The sensors of one GPU or of one slice; nothing here changes the card's settings.

    A slice has its own name and memory; heat and throttling are the whole card's, and nobody
    measures what a single slice draws.
    """

    def __init__(self, driver: SensorDriver, card: _Card, part: _Slice | None = None) -> None:
        self._driver = driver
        self._card = card
        self._part = part
        self._own_handle = own_handle = card.handle if part is None else part.handle
        memory = _if_there(lambda: driver.nvmlDeviceGetMemoryInfo(own_handle))
        # A split card without slices has nothing that a worker could be given.
        is_placeable = part is not None or not card.is_split
        self.facts = CardFacts(
            device_uuid=_text(driver.nvmlDeviceGetUUID(own_handle)) if is_placeable else "",
            memory_bytes=0 if memory is None else memory.total,
            position=card.position if part is None else part.position,
        )

    def read(self) -> SensorSample:
        driver, handle = self._driver, self._card.handle
        sensor, clock = pynvml.NVML_TEMPERATURE_GPU, pynvml.NVML_CLOCK_SM
        memory = _if_there(lambda: driver.nvmlDeviceGetMemoryInfo(self._own_handle))
        rates = _if_there(lambda: driver.nvmlDeviceGetUtilizationRates(handle))
        reasons = _if_there(lambda: driver.nvmlDeviceGetCurrentClocksEventReasons(handle)) or 0
        return SensorSample(
            temperature_celsius=_if_there(lambda: driver.nvmlDeviceGetTemperature(handle, sensor)),
            power_watts=self._watts(),
            memory_used_bytes=None if memory is None else memory.used,
            utilization=None if rates is None else rates.gpu / 100,
            clock_megahertz=_if_there(lambda: driver.nvmlDeviceGetClockInfo(handle, clock)),
            throttle_reasons=tuple(
                name for bit, name in _THROTTLE_REASONS.items() if reasons & bit
            ),
        )

    def _watts(self) -> float | None:
        if self._part is not None:
            return None
        milliwatts = _if_there(lambda: self._driver.nvmlDeviceGetPowerUsage(self._card.handle))
        return None if milliwatts is None else milliwatts / 1000


def open_sensors(driver: SensorDriver = REAL_DRIVER) -> list[GpuSensors]:
    """Return the sensors of each GPU of this host, in the driver's order; none without a driver.

    In place of a card split by MIG come its slices, as with the counters.

    Raises:
        CounterUnavailableError: There is a driver and it does not answer now.
    """
    try:
        return [
            NvmlSensors(driver, card, part)
            for card in _cards(driver)
            for part in _slices_of(card) or [None]
        ]
    except pynvml.NVMLError as error:
        if _meaning(error) is CounterUnsupportedError:
            return []
        raise _told(error) from error


def open_counters(driver: Driver = REAL_DRIVER) -> list[EnergyCounter]:
    """Return a counter for each GPU of this host, in the driver's order; none without a driver.

    A card without the energy counter is served by its power, integrated. In place of a card split
    by MIG come its slices; one without slices stands there itself, and nobody can draw on it.

    Raises:
        CounterUnavailableError: There is a driver and it does not answer now.
    """
    try:
        return [counter for card in _cards(driver) for counter in _counters_of(card)]
    except pynvml.NVMLError as error:
        if _meaning(error) is CounterUnsupportedError:
            return []
        raise _told(error) from error


def _cards(driver: Driver) -> list[_Card]:
    driver.nvmlInit()
    handles = [
        driver.nvmlDeviceGetHandleByIndex(index) for index in range(driver.nvmlDeviceGetCount())
    ]
    return [
        _Card(
            driver,
            handle,
            _text(driver.nvmlDeviceGetName(handle)),
            position=str(index),
            is_split=_is_split(driver, handle),
        )
        for index, handle in enumerate(handles)
    ]


def _slices_of(card: _Card) -> list[_Slice]:
    """Return the slices of a split card that a tenant may have, none of a whole one.

    Of a GPU instance with several compute instances it is the first: they share their memory and
    its bandwidth, so two of them would not keep two tenants apart.
    """
    if not card.is_split:
        return []
    count = _if_there(lambda: card.driver.nvmlDeviceGetMaxMigDeviceCount(card.handle)) or 0
    by_position: dict[str, _Slice] = {}
    for index in range(count):
        found = _if_there(lambda index=index: _slice_at(card, index))
        if found is not None:
            by_position.setdefault(found.position, found)
    return list(by_position.values())


def _slice_at(card: _Card, index: int) -> _Slice:
    driver = card.driver
    handle = driver.nvmlDeviceGetMigDeviceHandleByIndex(card.handle, index)
    return _Slice(
        handle,
        _text(driver.nvmlDeviceGetName(handle)),
        position=f"{card.position}-mig-{driver.nvmlDeviceGetGpuInstanceId(handle)}",
        size=driver.nvmlDeviceGetAttributes(handle).gpuInstanceSliceCount,
    )


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


def _counters_of(card: _Card) -> list[EnergyCounter]:
    slices = _slices_of(card)
    if not slices:
        return [_counter_of(card)]
    whole_size = sum(one.size for one in slices)
    return [
        SliceCounter(_counter_of(card), display_name=one.name, size=one.size, whole_size=whole_size)
        for one in slices
    ]


def _counter_of(card: _Card) -> EnergyCounter:
    try:
        _energy_of(card)
    except CounterUnsupportedError:
        return PowerIntegral(
            lambda: _watts_of(card),
            source=EnergySource.ESTIMATED if card.is_split else EnergySource.NVML_POWER,
            display_name=f"{card.name} (by its power)",
        )
    except CounterUnavailableError:
        # It has one and does not answer now: every later read asks again.
        pass
    return NvmlCounter(card)


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


def _is_split(driver: Driver, handle: object) -> bool:
    try:
        current_mode, _pending_mode = driver.nvmlDeviceGetMigMode(handle)
    except pynvml.NVMLError:
        # Cards that cannot be split refuse the question.
        return False
    return current_mode == pynvml.NVML_DEVICE_MIG_ENABLE


def _meaning(error: Any) -> type[CounterError]:  # noqa: ANN401 - its value has no type
    return _ERRORS.get(error.value, CounterUnavailableError)


def _told(error: Any) -> CounterError:  # noqa: ANN401 - its value has no type
    return _meaning(error)(f"NVML: {error}")
