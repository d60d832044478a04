"""How often each duty was done, and when last."""

import time
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from enum import StrEnum

# How many tenants failed within the round that runs in this task.
FAILED_TENANTS: ContextVar[list[str] | None] = ContextVar("failed_tenants", default=None)


class RoundResult(StrEnum):
    """What became of a round; stable names."""

    DONE = "done"
    # For some tenants it failed; for the others it was done.
    PARTLY = "partly"
    FAILED = "failed"
    NO_DATABASE = "no_database"
    # Another housekeeper has the duty's lock.
    ELSEWHERE = "elsewhere"


class DutyTally:
    """Rounds of all duties of this process, by name."""

    def __init__(self, *, wall_seconds: Callable[[], float] = time.time) -> None:
        self._wall_seconds = wall_seconds
        self.periods: dict[str, float] = {}
        self.last_success: dict[str, float] = {}
        self.rounds: Counter[tuple[str, RoundResult]] = Counter()

    def begin(self, duty: str, *, period_seconds: float) -> None:
        """Learn that a duty is to be done; from here on its rounds count from 0."""
        self.periods[duty] = period_seconds
        self.rounds.update(dict.fromkeys(((duty, result) for result in RoundResult), 0))

    def note(self, duty: str, result: RoundResult) -> None:
        """Count a round that ended."""
        self.rounds[duty, result] += 1
        if result is RoundResult.DONE:
            self.last_success[duty] = self._wall_seconds()
