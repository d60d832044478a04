"""A counter of energy made from a device's power, where the device has no counter of its own."""

from collections.abc import Callable
from typing import Final

from metering.energy_counter import CounterFacts
from metering.energy_source import EnergySource

_NANOS_PER_MILLISECOND: Final = 1_000_000


class PowerIntegral:
    """Integrates power by trapezoids between its own reads; coarser than any real counter."""

    def __init__(
        self, read_watts: Callable[[], float], *, source: EnergySource, display_name: str
    ) -> None:
        self._read_watts = read_watts
        self._last: tuple[int, float] | None = None
        self._millijoules = 0.0
        self.facts = CounterFacts(
            source=source, display_name=display_name, refresh_nanos=0, counts_alone=False
        )

    def read(self, now_nanos: int) -> int:
        watts = self._read_watts()
        if self._last is not None:
            last_nanos, last_watts = self._last
            milliseconds = (now_nanos - last_nanos) / _NANOS_PER_MILLISECOND
            self._millijoules += (watts + last_watts) / 2 * milliseconds
        self._last = (now_nanos, watts)
        return int(self._millijoules)
