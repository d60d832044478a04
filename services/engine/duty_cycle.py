"""How long the engine rests, so that it works only a fraction of the time.

What counts is the whole: time that passed without work is rest, whoever caused it (the operating
system woke us late, an image was encoded, nobody had ordered). A rest that was too long makes the
next one shorter, so the fraction does not drift away from what was asked for.
"""

from typing import Final

# Rest that was had for nothing is remembered up to this: after a pause a short job runs at full
# speed, and a sustained load is slowed from its first minute on.
CREDIT_SECONDS_MAX: Final = 2.0


class DutyCycle:
    """Keeps the books of one engine's work and rest; `now` is monotonic seconds."""

    def __init__(self, *, now: float) -> None:
        self.fraction = 1.0
        # Rest that is due; below zero: rest that was had in advance.
        self._owed_seconds = 0.0
        self._last_time = now

    def rest_after(self, worked_seconds: float, *, now: float) -> float:
        """Note work that ended at `now` and return how long to rest from then on."""
        passed_seconds = now - self._last_time
        self._last_time = now
        owed_seconds = self._owed_seconds + worked_seconds / self.fraction - passed_seconds
        self._owed_seconds = max(owed_seconds, -CREDIT_SECONDS_MAX)
        return max(self._owed_seconds, 0.0)
