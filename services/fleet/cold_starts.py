"""How long a worker takes from its start until it is ready to draw, as measured on this host."""

from collections import deque
from statistics import median
from typing import Final

# Enough for a median that one slow disk read does not move.
_REMEMBERED: Final = 9


class ColdStarts:
    """The newest cold starts by model."""

    def __init__(self, *, seconds_before_measured: float) -> None:
        self._seconds_before_measured = seconds_before_measured
        self._seconds: dict[str, deque[float]] = {}

    def note(self, model: str, seconds: float) -> None:
        self._seconds.setdefault(model, deque(maxlen=_REMEMBERED)).append(seconds)

    def expected_seconds(self, model: str) -> float:
        """Return the median of the newest; a setting's word until one was measured."""
        measured = self._seconds.get(model)
        return median(measured) if measured else self._seconds_before_measured
