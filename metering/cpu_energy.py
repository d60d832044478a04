"""Energy of a processor that has no counter: estimated from a stated model, and told as such.

    joules = idle watts × seconds + joules per CPU second × CPU seconds of the device's processes

The defaults are those of Cloud Carbon Footprint's methodology for a virtual CPU (one hardware
thread) of AWS, averaged over the processors SPECpower knows: 0.74 W idle and 3.5 W at full load.
The truth of one machine can lie off by half either way; settings replace them.
"""

import os
from pathlib import Path
from threading import Lock
from typing import Final

from metering.energy_counter import CounterFacts
from metering.energy_source import EnergySource

IDLE_WATTS: Final = 0.74
# What a busy hardware thread takes on top of an idle one: 3.5 W − 0.74 W.
JOULES_PER_CPU_SECOND: Final = 2.76

_PROC: Final = Path("/proc")
# Of /proc/<pid>/stat, counted from the field behind the command's closing bracket (proc(5)).
_USER_TICKS: Final = 11
_SYSTEM_TICKS: Final = 12
_START_TIME: Final = 19
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_NANOS_PER_SECOND: Final = 1_000_000_000
_MILLIJOULES_PER_JOULE: Final = 1000


class AttachedProcesses:
    """CPU time of the processes that are attached to a device, while they are.

    A process is attached once for each of its connections. Safe for two threads: one attaches, the
    other counts.
    """

    def __init__(self, proc: Path = _PROC) -> None:
        self._proc = proc
        self._lock = Lock()
        self._connection_counts: dict[int, int] = {}
        # By process: when it started, to tell a reused number, and its ticks when last seen.
        self._seen: dict[int, tuple[int, int]] = {}
        self._counted_ticks = 0

    def attach(self, process_id: int) -> None:
        with self._lock:
            count = self._connection_counts.get(process_id, 0)
            self._connection_counts[process_id] = count + 1
            if not count:
                self._look(process_id)

    def detach(self, process_id: int) -> None:
        with self._lock:
            self._look(process_id)
            self._connection_counts[process_id] -= 1
            if not self._connection_counts[process_id]:
                del self._connection_counts[process_id]
                self._seen.pop(process_id, None)

    def cpu_ticks(self) -> int:
        """Return the ticks counted so far; it only grows.

        What a process burns between the last look and its death is not seen.
        """
        with self._lock:
            for process_id in self._connection_counts:
                self._look(process_id)
            return self._counted_ticks

    def _look(self, process_id: int) -> None:
        try:
            stat = (self._proc / str(process_id) / "stat").read_text()
        except OSError:
            return
        # The command stands in brackets and may hold anything, brackets and spaces too.
        fields = stat.rpartition(")")[2].split()
        start_time = int(fields[_START_TIME])
        ticks = int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])
        seen_start_time, seen_ticks = self._seen.get(process_id, (start_time, ticks))
        if seen_start_time == start_time:
            self._counted_ticks += max(0, ticks - seen_ticks)
        self._seen[process_id] = (start_time, ticks)


class EstimatedCounter:
    """A counter that follows the model since it was made."""

    def __init__(
        self,
        processes: AttachedProcesses,
        *,
        start_nanos: int,
        idle_watts: float = IDLE_WATTS,
        joules_per_cpu_second: float = JOULES_PER_CPU_SECOND,
        display_name: str = "processor (estimated)",
    ) -> None:
        self._processes = processes
        self._start_nanos = start_nanos
        self._idle_watts = idle_watts
        self._joules_per_cpu_second = joules_per_cpu_second
        self.facts = CounterFacts(
            source=EnergySource.ESTIMATED,
            display_name=display_name,
            refresh_nanos=0,
            counts_alone=False,
        )

    def read(self, now_nanos: int) -> int:
        seconds = (now_nanos - self._start_nanos) / _NANOS_PER_SECOND
        cpu_seconds = self._processes.cpu_ticks() / _TICKS_PER_SECOND
        joules = seconds * self._idle_watts + cpu_seconds * self._joules_per_cpu_second
        return int(joules * _MILLIJOULES_PER_JOULE)
