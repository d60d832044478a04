"""What is sold by which unit, and how many of the whole numbers it is counted in make one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from metering.price_document import Component


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit by its name on the invoice; ``count`` of what we count in make one."""

    name: str
    count: int


# Images, pixel-steps, microseconds and millijoules are counted; these are sold.
UNITS: Final[Mapping[Component, Unit]] = {
    Component.PER_IMAGE: Unit("image", 1),
    Component.PER_MEGAPIXEL_STEP: Unit("megapixel-step", 1_000_000),
    Component.PER_GPU_SECOND: Unit("second", 1_000_000),
    Component.PER_KWH: Unit("kWh", 3_600_000_000),
}
