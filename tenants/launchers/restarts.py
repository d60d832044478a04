"""When a process that died may be started again: soon the first time, then less and less often."""

from dataclasses import dataclass, field

_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 30.0
# One that ran this long was well; its next death is a new story.
_WELL_AFTER_SECONDS = 60.0


@dataclass(slots=True, kw_only=True)
class Restarts:
    """The deaths of one process; `now` is monotonic seconds."""

    count: int = 0
    _wait_seconds: float = _FIRST_WAIT_SECONDS
    _start_time: float | None = None
    _next_start_time: float = field(default=float("-inf"))

    def may_start(self, now: float) -> bool:
        return now >= self._next_start_time

    def started(self, now: float) -> None:
        self._start_time = now

    def died(self, now: float) -> float:
        """Note a death, or a start that failed; return how many seconds to wait."""
        was_well = self._start_time is not None and now - self._start_time > _WELL_AFTER_SECONDS
        if was_well:
            self._wait_seconds = _FIRST_WAIT_SECONDS
        waited = self._wait_seconds
        self._next_start_time = now + waited
        self._wait_seconds = min(2 * waited, _LONGEST_WAIT_SECONDS)
        self._start_time = None
        self.count += 1
        return waited
