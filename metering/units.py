"""What is sold by which unit, and how many of the whole numbers it is counted in make one."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from metering.money import divide_half_even
from metering.price_document import Component

# A millijoule is 2.8e-10 kWh: twelve places tell any two energies apart.
_QUANTITY_PLACES: Final = 12


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit by its name on the invoice; ``count`` of what we count in make one."""

    name: str
    count: int

    def quantity(self, count: int) -> Decimal:
        """Write a count in this unit; exact for all but kWh, whose decimals have no end."""
        places = divide_half_even(count * 10**_QUANTITY_PLACES, self.count)
        return shortest(Decimal(places).scaleb(-_QUANTITY_PLACES))


# Images, pixel-steps, microseconds and millijoules are counted; these are sold.
UNITS: Final[Mapping[Component, Unit]] = {
    Component.PER_IMAGE: Unit("image", 1),
    Component.PER_MEGAPIXEL_STEP: Unit("megapixel-step", 1_000_000),
    Component.PER_GPU_SECOND: Unit("second", 1_000_000),
    Component.PER_KWH: Unit("kWh", 3_600_000_000),
}


def shortest(number: Decimal) -> Decimal:
    """Drop the zeros at the end, without the exponent that ``normalize`` gives to 100."""
    is_whole = number == number.to_integral_value()
    return number.quantize(Decimal(1)) if is_whole else number.normalize()
