"""The thread that reads the counters: one read of NVML's takes milliseconds, so it has its own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from time import monotonic_ns, time_ns
from typing import Final

from metering.energy import Reading
from metering.errors import CounterError
from services.meter.devices import Device

_SECOND_NANOS: Final = 1_000_000_000
_HOUR_NANOS: Final = 3600 * _SECOND_NANOS
# The shortest time between two reads of a device, so that there are at most 20 per second.
_TICK_SECONDS: Final = 0.05
# A device without a worker only has to be seen often enough for its idle time.
_FREE_POLL_NANOS: Final = 1 * _SECOND_NANOS
# A counter that did not move for so long stands still, which is a reading too.
_STILL_NANOS: Final = 1 * _SECOND_NANOS


@dataclass(slots=True, kw_only=True)
class _Watched:
    """A device with what was last seen of its counter."""

    device: Device
    is_busy: Callable[[], bool]
    deliver: Callable[[Reading], None]
    report: Callable[[CounterError], None]
    due_nanos: int = 0
    polled_nanos: int = 0
    told: Reading = field(default_factory=lambda: Reading(0, -1))


class CounterReader(Thread):
    """Reads every watched device when it is due; what it finds is delivered from this thread."""

    def __init__(self) -> None:
        super().__init__(name="counters", daemon=True)
        self._watched: list[_Watched] = []
        self._lock = Lock()
        self._stopping = Event()

    def watch(
        self,
        device: Device,
        *,
        is_busy: Callable[[], bool],
        deliver: Callable[[Reading], None],
        report: Callable[[CounterError], None],
    ) -> None:
        """Begin to read a device; ``is_busy`` tells whether a worker is on it."""
        watched = _Watched(device=device, is_busy=is_busy, deliver=deliver, report=report)
        with self._lock:
            self._watched.append(watched)

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.wait(_TICK_SECONDS):
            with self._lock:
                watched = list(self._watched)
            for one in watched:
                if self._is_due(one):
                    self._read(one)

    def _is_due(self, watched: _Watched) -> bool:
        now_nanos = monotonic_ns()
        is_soon = watched.is_busy() and now_nanos - watched.polled_nanos >= (
            watched.device.poll_nanos - _TICK_SECONDS * _SECOND_NANOS / 2
        )
        return is_soon or now_nanos >= watched.due_nanos

    def _read(self, watched: _Watched) -> None:
        before_nanos = monotonic_ns()
        gap_nanos = before_nanos - watched.polled_nanos
        watched.polled_nanos = before_nanos
        # One reading falls right behind each UTC hour, where segments are cut.
        to_hour_nanos = _HOUR_NANOS - time_ns() % _HOUR_NANOS
        watched.due_nanos = before_nanos + min(_FREE_POLL_NANOS, to_hour_nanos)
        try:
            millijoules = watched.device.counter.read(before_nanos)
        except CounterError as error:
            watched.report(error)
            return
        reading = Reading(before_nanos, millijoules)
        refresh_nanos = watched.device.counter.facts.refresh_nanos
        if refresh_nanos:
            is_still = before_nanos - watched.told.nanos >= _STILL_NANOS
            if millijoules == watched.told.millijoules and not is_still:
                return
            # It moved somewhere between the last look and this one.
            reading = Reading(before_nanos - min(gap_nanos, refresh_nanos) // 2, millijoules)
        watched.told = reading
        watched.deliver(reading)
