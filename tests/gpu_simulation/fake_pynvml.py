"""pynvml's shape over a simulated card: what its counter shows, and how it fails.

The counter moves at even intervals with a phase, shows what was drawn some time ago, starts again
after a reset, stands still in a stall; a call takes milliseconds of the simulated clock, and can be
made to fail. What the functions answer, and how, was read off an H200.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import pynvml  # pyright: ignore[reportMissingTypeStubs]

from metering.nvml_driver import MemoryInfo, SliceAttributes, UtilizationRates
from tests.gpu_simulation.card import MS, SimulatedCard

# Driver 580 counts on from when it was loaded.
_COUNTED_BEFORE_MILLIJOULES: Final = 3_172_840_116


@dataclass(slots=True)
class SimulatedClock:
    """Moves only when told to."""

    nanos: int = 0

    def now(self) -> int:
        return self.nanos

    def pass_by(self, nanos: int) -> None:
        self.nanos += nanos


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterHabits:
    """How the card's counter behaves."""

    refresh_ms: float = 100.0
    phase_ms: float = 37.0
    # A move comes so much early or late, one standard deviation.
    jitter_ms: float = 0.1
    # It shows what was drawn up to so long ago.
    lag_ms: float = 0.0
    # Of one call.
    call_ms: float = 4.6
    # It begins at 0 again at this moment.
    reset_nanos: int | None = None
    # It does not move from one moment to the other.
    stall_nanos: tuple[int, int] = (0, 0)
    is_counter_supported: bool = True
    is_split: bool = False


@dataclass(slots=True)
class FakePynvml:
    """Stands where the module pynvml stands; one card."""

    card: SimulatedCard
    habits: CounterHabits
    # Moments, in nanoseconds.
    now: Callable[[], int]
    # Spends simulated time; does nothing where the clock is the real one.
    spend: Callable[[int], None] = lambda _nanos: None
    # The driver's error while it is set.
    failure: int | None = None
    call_count: int = 0
    _source: random.Random = field(default_factory=lambda: random.Random(5))

    def nvmlInit(self) -> None:  # noqa: N802 - the driver's names
        """As the driver's."""

    def nvmlShutdown(self) -> None:  # noqa: N802
        """As the driver's."""

    def nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        return "simulated"

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> object:  # noqa: N802
        return ("card", index)

    def nvmlDeviceGetName(self, handle: object) -> str | bytes:  # noqa: N802
        return "Simulated H200"

    def nvmlDeviceGetMigMode(self, handle: object) -> list[int]:  # noqa: N802
        mode = pynvml.NVML_DEVICE_MIG_ENABLE if self.habits.is_split else 0
        return [mode, mode]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: object) -> int:  # noqa: N802
        return 0

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: object, index: int) -> object:  # noqa: N802
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

    def nvmlDeviceGetGpuInstanceId(self, handle: object) -> int:  # noqa: N802
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def nvmlDeviceGetAttributes(self, handle: object) -> SliceAttributes:  # noqa: N802
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def nvmlDeviceGetUUID(self, handle: object) -> str | bytes:  # noqa: N802
        return "GPU-00000000-0000-0000-0000-000000000000"

    def nvmlDeviceGetMemoryInfo(self, handle: object) -> MemoryInfo:  # noqa: N802
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def nvmlDeviceGetTemperature(self, handle: object, sensor: int) -> int:  # noqa: N802
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def nvmlDeviceGetUtilizationRates(self, handle: object) -> UtilizationRates:  # noqa: N802
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def nvmlDeviceGetClockInfo(self, handle: object, clock: int) -> int:  # noqa: N802
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: object) -> int:  # noqa: N802
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object) -> int:  # noqa: N802
        if not self.habits.is_counter_supported:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return self._call(self.shown_at)

    def nvmlDeviceGetPowerUsage(self, handle: object) -> int:  # noqa: N802
        """Milliwatts, averaged over a second, as cards from Ampere on answer."""
        return self._call(
            lambda nanos: round(1000 * self.card.watts_at(nanos, averaged_over_ms=1000))
        )

    def shown_at(self, nanos: int) -> int:
        """What the counter shows at a moment."""
        habits = self.habits
        moved_nanos = self.last_move(nanos)
        stall_start_nanos, stall_end_nanos = habits.stall_nanos
        if stall_start_nanos <= nanos < stall_end_nanos:
            moved_nanos = self.last_move(stall_start_nanos)
        energy = self.card.energy_at(moved_nanos - habits.lag_ms * MS)
        if habits.reset_nanos is not None and moved_nanos >= habits.reset_nanos:
            return int(energy - self.card.energy_at(habits.reset_nanos))
        return _COUNTED_BEFORE_MILLIJOULES + int(energy)

    def last_move(self, nanos: int) -> float:
        """When the counter moved last; each move has a jitter of its own."""
        habits = self.habits
        number = int((nanos / MS - habits.phase_ms) // habits.refresh_ms)
        moment = self._moment(number)
        if moment > nanos:
            return self._moment(number - 1)
        following = self._moment(number + 1)
        return following if following <= nanos else moment

    def _moment(self, number: int) -> float:
        jitter = random.Random(number).gauss(0, self.habits.jitter_ms)
        return (self.habits.phase_ms + number * self.habits.refresh_ms + jitter) * MS

    def _call(self, answer: Callable[[int], int]) -> int:
        self.call_count += 1
        call_nanos = int(self.habits.call_ms * MS)
        looked_after = int(self._source.uniform(0, call_nanos))
        self.spend(looked_after)
        if self.failure is not None:
            self.spend(call_nanos - looked_after)
            raise pynvml.NVMLError(self.failure)
        value = answer(self.now())
        self.spend(call_nanos - looked_after)
        return value

    def __getattr__(self, name: str) -> Any:
        """Constants and errors are the real module's."""
        return getattr(pynvml, name)
