"""The thread that reads the counters: one read of NVML's takes milliseconds, so it has its own."""

from collections import deque
from collections.abc import Callable
from threading import Condition, Thread
from time import monotonic_ns, time_ns
from typing import Final

from metering.energy import Reading
from metering.errors import CounterError
from metering.refresh_tracker import RefreshTracker
from services.meter.devices import Device

_SECOND_NANOS: Final = 1_000_000_000
_HOUR_NANOS: Final = 3600 * _SECOND_NANOS
# Of one device, however it is looked at.
_READS_PER_SECOND_MAX: Final = 20
# A device without a worker only has to be seen often enough for its idle time.
_FREE_POLL_NANOS: Final = 1 * _SECOND_NANOS
# A device whose worker has just come is read this soon.
_LOOK_AROUND_SECONDS: Final = 0.05


class CounterWatch:
    """A device with what was last seen of its counter; tells when it is due and reads it."""

    def __init__(
        self,
        device: Device,
        *,
        is_busy: Callable[[], bool],
        deliver: Callable[[Reading], None],
        report: Callable[[CounterError], None],
        monotonic_clock_nanos: Callable[[], int] = monotonic_ns,
        wall_clock_nanos: Callable[[], int] = time_ns,
    ) -> None:
        self._monotonic_clock_nanos = monotonic_clock_nanos
        self._wall_clock_nanos = wall_clock_nanos
        self._device = device
        self._is_busy = is_busy
        self._deliver = deliver
        self._report = report
        self._tracker = (
            RefreshTracker(period_nanos=device.refresh_nanos) if device.refresh_nanos else None
        )
        self._read_nanos: deque[int] = deque([0], maxlen=_READS_PER_SECOND_MAX)
        # The first read is due at once.
        self._hour_end_nanos = 0

    def due_nanos(self) -> int:
        """When to read next."""
        if self._tracker is not None:
            due_nanos = self._tracker.next_look_nanos(
                eager=self._is_busy(), earliest_nanos=self._earliest_nanos()
            )
        else:
            pace = self._device.poll_nanos if self._is_busy() else _FREE_POLL_NANOS
            due_nanos = self._read_nanos[-1] + pace
        # One reading falls right behind each UTC hour, where segments are cut.
        return max(min(due_nanos, self._hour_end_nanos), self._earliest_nanos())

    def read(self) -> None:
        before_nanos = self._monotonic_clock_nanos()
        self._read_nanos.append(before_nanos)
        self._hour_end_nanos = before_nanos + _HOUR_NANOS - self._wall_clock_nanos() % _HOUR_NANOS
        try:
            millijoules = self._device.counter.read(before_nanos)
        except CounterError as error:
            self._report(error)
            return
        if self._tracker is None:
            self._deliver(Reading(before_nanos, millijoules, self._device.timing_nanos))
            return
        reading = self._tracker.look(
            before_nanos=before_nanos,
            after_nanos=self._monotonic_clock_nanos(),
            millijoules=millijoules,
        )
        if reading is not None:
            self._deliver(reading)

    def _earliest_nanos(self) -> int:
        if len(self._read_nanos) < _READS_PER_SECOND_MAX:
            return 0
        return self._read_nanos[0] + _SECOND_NANOS


class CounterReader(Thread):
    """Reads every watched device when it is due; what it finds is delivered from this thread."""

    def __init__(self) -> None:
        super().__init__(name="counters", daemon=True)
        self._watched: list[CounterWatch] = []
        self._news = Condition()
        self._is_stopping = False

    def watch(
        self,
        device: Device,
        *,
        is_busy: Callable[[], bool],
        deliver: Callable[[Reading], None],
        report: Callable[[CounterError], None],
    ) -> None:
        """Begin to read a device; ``is_busy`` tells whether a worker is on it."""
        watched = CounterWatch(device, is_busy=is_busy, deliver=deliver, report=report)
        with self._news:
            self._watched.append(watched)
            self._news.notify_all()

    def stop(self) -> None:
        with self._news:
            self._is_stopping = True
            self._news.notify_all()

    def run(self) -> None:
        while (watched := self._wait()) is not None:
            for one in watched:
                if one.due_nanos() <= monotonic_ns():
                    one.read()

    def _wait(self) -> list[CounterWatch] | None:
        """Wait until a device is due; None when it is time to stop."""
        with self._news:
            if self._is_stopping:
                return None
            due_nanos = min((one.due_nanos() for one in self._watched), default=None)
            if due_nanos is None:
                self._news.wait()
            elif (wait_nanos := due_nanos - monotonic_ns()) > 0:
                self._news.wait(min(wait_nanos / _SECOND_NANOS, _LOOK_AROUND_SECONDS))
            return None if self._is_stopping else list(self._watched)
