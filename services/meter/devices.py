"""The devices of this host that are metered: its GPUs, else its processor in several parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from time import monotonic_ns
from typing import Final

import structlog

from metering import nvml
from metering.calibration import read_calibration
from metering.cpu_energy import AttachedProcesses, EstimatedCounter
from metering.energy_counter import EnergyCounter
from metering.errors import CounterError
from metering.gpu_sensors import CardFacts, GpuSensors
from metering.power import PowerModel
from metering.rapl import open_rapl
from metering.refresh_tracker import measure_period_nanos
from services.meter.settings import Settings
from tenants.ids import GpuId, gpu_id_of

_MS_NANOS: Final = 1_000_000
# Of a counter that always moves.
_POLL_NANOS: Final = 100 * _MS_NANOS
# CPU time is counted in ticks of 10 ms.
_TICK_NANOS: Final = 10 * _MS_NANOS
_CPUINFO: Final = Path("/proc/cpuinfo")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One device, its counter and how that is read."""

    gpu_id: GpuId
    counter: EnergyCounter
    power: PowerModel
    # The workers' processes, for a counter that is estimated from them.
    processes: AttachedProcesses
    # Of a counter that always moves.
    poll_nanos: int
    # Of one that moves now and then: how often; it is followed. 0 for one that always does.
    refresh_nanos: int
    # One standard deviation of the moment at which a reading was true, when it is not followed.
    timing_nanos: float
    # Its timeline begins with the meter's start, else when its first directory appears.
    is_always_there: bool
    # None for a processor.
    sensors: GpuSensors | None = None


def find_devices(settings: Settings) -> Mapping[GpuId, Device]:
    """Return this host's devices by id; a card split by MIG is as many as it has slices.

    Raises:
        CounterError: There is a driver and it does not answer.
        CalibrationInvalidError: The file that the settings name is none.
    """
    counters = nvml.open_counters() if settings.use_gpus else []
    if counters:
        # All three lists are in the driver's order, which is that of the bus.
        found = zip(counters, nvml.open_sensors(), powers_of(counters, settings), strict=True)
        gpus = [_gpu(settings, counter, sensors, power) for counter, sensors, power in found]
        return {gpu.gpu_id: gpu for gpu in gpus}
    if settings.listen_address is not None:
        raise CounterError(
            "listen_address: needs a GPU; what a worker draws of a processor is estimated from its"
            " CPU time, and who is at the other end of TCP the kernel does not tell"
        )
    ids = [GpuId(f"cpu-{index}") for index in range(settings.cpu_device_count)]
    return {gpu_id: _processor(gpu_id, settings) for gpu_id in ids}


def powers_of(counters: Sequence[EnergyCounter], settings: Settings) -> list[PowerModel]:
    """Return what each GPU is taken to draw at first: as it was measured, else as it is set.

    Raises:
        CalibrationInvalidError: The file that the settings name is none.
    """
    path = settings.calibration_path
    calibration = read_calibration(path) if path else None
    powers = [_set_power(settings)] * len(counters)
    if calibration is None:
        return powers
    names = [counter.facts.display_name for counter in counters]
    if calibration.card not in names:
        log.warning("calibration_of_another_card", card=calibration.card, found=names)
    return [
        calibration.power if name == calibration.card else power
        for name, power in zip(names, powers, strict=True)
    ]


def _set_power(settings: Settings) -> PowerModel:
    return PowerModel(
        idle_watts=settings.gpu_idle_watts,
        free_watts=settings.gpu_free_watts,
        load_watts=settings.gpu_load_watts,
        joules_per_work_unit=settings.gpu_joules_per_work_unit,
    )


def _gpu(
    settings: Settings, counter: EnergyCounter, sensors: GpuSensors, power: PowerModel
) -> Device:
    refresh_nanos = _refresh_nanos(counter)
    return Device(
        gpu_id=_gpu_id(settings, sensors.facts),
        counter=counter,
        power=power,
        processes=AttachedProcesses(),
        poll_nanos=_POLL_NANOS,
        refresh_nanos=refresh_nanos,
        timing_nanos=refresh_nanos / sqrt(12),
        is_always_there=True,
        sensors=sensors,
    )


def _gpu_id(settings: Settings, facts: CardFacts) -> GpuId:
    """Name a card by its place on this host; among several hosts by what the driver calls it.

    A split card without slices has no such name, and nobody can be given it.
    """
    if settings.listen_address is not None and facts.device_uuid:
        return gpu_id_of(facts.device_uuid)
    return GpuId(f"gpu-{facts.position}")


def _refresh_nanos(counter: EnergyCounter) -> int:
    """Return how often the counter moves; 0 where it always does."""
    stated_nanos = counter.facts.refresh_nanos
    if not stated_nanos:
        return 0
    try:
        return measure_period_nanos(
            lambda: counter.read(monotonic_ns()), now=monotonic_ns, unknown_nanos=stated_nanos
        )
    except CounterError:
        return stated_nanos


def _processor(gpu_id: GpuId, settings: Settings) -> Device:
    processes = AttachedProcesses()
    # RAPL counts the whole processor, so it can only stand for a device that is the whole of it.
    rapl = open_rapl() if settings.cpu_device_count == 1 else None
    counter = rapl or EstimatedCounter(
        processes,
        start_nanos=monotonic_ns(),
        idle_watts=settings.cpu_idle_watts,
        joules_per_cpu_second=settings.cpu_joules_per_cpu_second,
        display_name=f"{_processor_name()} (estimated)",
    )
    return Device(
        gpu_id=gpu_id,
        counter=counter,
        power=PowerModel(
            idle_watts=settings.cpu_idle_watts,
            free_watts=settings.cpu_idle_watts,
            load_watts=settings.cpu_load_watts,
            joules_per_work_unit=settings.cpu_joules_per_work_unit,
        ),
        processes=processes,
        poll_nanos=_POLL_NANOS,
        refresh_nanos=0,
        timing_nanos=(0 if rapl else _TICK_NANOS) / sqrt(12),
        is_always_there=False,
    )


def _processor_name() -> str:
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return "processor"
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or "processor"
