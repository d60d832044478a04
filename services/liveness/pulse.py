"""Whether a process' loops come round: it ends itself when one does not, and tells outside.

Only a new process frees a device that does not answer, so a worker whose engine, consumer or
attendance stands still ends itself. One that cannot even do that (stopped as a whole, caught in a
library that holds the interpreter) is for whoever looks after the process: a file says until when
it counts as alive, `services.liveness.alive` reads it. What is written there follows from turns
that were seen, so the thread that writes cannot make up for a loop that hangs.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Thread
from time import monotonic_ns
from typing import Final

import structlog

PULSE_VARIABLE: Final = "ATELIER_PULSE_PATH"

# What sysexits.h calls a software failure; somebody starts a new process.
_EXIT_CODE: Final = 70
_NANOS: Final = 1_000_000_000
_LOOK_SECONDS: Final = 1.0
_LOOK_NANOS: Final = 1 * _NANOS

log = structlog.get_logger()


def pulse_path() -> Path | None:
    """Where this process is wished to write; for all processes alike, as nobody else's file."""
    path = os.environ.get(PULSE_VARIABLE)
    return None if path is None else Path(path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """What comes round again and again; ``turns`` grows with each round, idle ones as well."""

    name: str
    turns: Callable[[], int]
    # Longer than its longest honest turn.
    turn_seconds_max: float


@dataclass(slots=True, kw_only=True)
class _Seen:
    loop: Loop
    turns: int
    since_nanos: int

    @property
    def until_nanos(self) -> int:
        return self.since_nanos + round(self.loop.turn_seconds_max * _NANOS)


class Pulse:
    """Looks once a second which of the watched loops went on."""

    def __init__(
        self,
        path: Path | None,
        *,
        grace_seconds: float,
        end_process: Callable[[int], None] = os._exit,
        now_nanos: Callable[[], int] = monotonic_ns,
    ) -> None:
        self._path = path
        # Time to notice by itself and to say so in the log, before somebody else ends it.
        self._grace_nanos = round(grace_seconds * _NANOS)
        self._end_process = end_process
        self._now_nanos = now_nanos
        self._lock = Lock()
        self._seen: list[_Seen] = []
        self._looked_nanos = now_nanos()
        self._ready = False
        self._closing = Event()
        self._thread = Thread(target=self._look_until_closed, name="pulse", daemon=True)

    def start(self, *loops: Loop, ready: bool) -> None:
        """Watch these first."""
        self.watch(*loops, ready=ready)
        self._thread.start()

    def watch(self, *loops: Loop, ready: bool) -> None:
        """Watch these and no others from now on; ``ready``: the process takes work."""
        with self._lock:
            now = self._now_nanos()
            self._ready = ready
            self._seen = [_Seen(loop=loop, turns=loop.turns(), since_nanos=now) for loop in loops]
        self.look()

    def look(self) -> None:
        """See who went on and write it down; end the process if somebody stood still."""
        with self._lock:
            now = self._now_nanos()
            self._compare(now)
            stalled = [seen.loop for seen in self._seen if seen.until_nanos < now]
            self._write(min((seen.until_nanos for seen in self._seen), default=now))
        if stalled:
            log.error("stalled", loops=[loop.name for loop in stalled])
            self._end_process(_EXIT_CODE)

    def close(self) -> None:
        """Watch nothing any more; who has not ended when the grace is over hangs."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()
        self.watch(ready=False)

    def _compare(self, now: int) -> None:
        # Who is looked after late was stopped together with us, and has not been hanging meanwhile.
        late_nanos = max(0, now - self._looked_nanos - _LOOK_NANOS)
        self._looked_nanos = now
        for seen in self._seen:
            seen.since_nanos += late_nanos
            turns = seen.loop.turns()
            if turns != seen.turns:
                seen.turns, seen.since_nanos = turns, now

    def _look_until_closed(self) -> None:
        while not self._closing.wait(_LOOK_SECONDS):
            self.look()

    def _write(self, until_nanos: int) -> None:
        """Replace the file as a whole, so that a reader never sees half of it."""
        if self._path is None:
            return
        state = "ready" if self._ready else "busy"
        written = self._path.with_suffix(".new")
        try:
            written.write_text(f"{until_nanos + self._grace_nanos} {state}\n")
            written.replace(self._path)
        except OSError as error:
            # The watching goes on; who reads the file sees it grow old.
            log.warning("pulse_not_written", reason=str(error))
