"""What a counter of a device's energy is, whoever makes it."""

from dataclasses import dataclass
from typing import Protocol

from metering.energy_source import EnergySource


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterFacts:
    """What does not change about a counter."""

    source: EnergySource
    # Of the device, for the operator, such as "NVIDIA H200".
    display_name: str
    # The counter moves only so often; 0 for one that always does.
    refresh_nanos: int
    # Whether it counts on while no meter runs, so that a restarted one can tell what it missed.
    counts_alone: bool


class EnergyCounter(Protocol):
    """Counts the energy of one device."""

    @property
    def facts(self) -> CounterFacts: ...

    def read(self, now_nanos: int) -> int:
        """Return millijoules since the counter's own beginning.

        Blocks for milliseconds; called from one thread. It only grows, until the device is reset.

        Raises:
            CounterUnavailableError: Not now; the next call may succeed.
            CounterUnsupportedError: Never.
        """
        ...
