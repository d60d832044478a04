"""What one slice of a split card is taken to draw: nobody measures it, so it is a stated share."""

from dataclasses import replace

from metering.energy_counter import EnergyCounter
from metering.energy_source import EnergySource


class SliceCounter:
    """A slice's part of its card's counter, by size, whoever of its neighbours works.

    All parts together are what the card drew, less a millijoule for each slice at most. While no
    meter runs the card may be split anew, so what it counted meanwhile is no slice's for sure.
    """

    def __init__(
        self, card_counter: EnergyCounter, *, display_name: str, size: int, whole_size: int
    ) -> None:
        self._card_counter = card_counter
        self._size = size
        self._whole_size = whole_size
        self.facts = replace(
            card_counter.facts,
            source=EnergySource.ESTIMATED,
            display_name=display_name,
            counts_alone=False,
        )

    def read(self, now_nanos: int) -> int:
        return self._card_counter.read(now_nanos) * self._size // self._whole_size
