"""Where a figure of energy comes from: an estimate never passes as a reading."""

from enum import StrEnum
from typing import Final


class EnergySource(StrEnum):
    """Source of an image's energy, from the best to none at all."""

    NVML_COUNTER = "NVML_COUNTER"
    NVML_POWER = "NVML_POWER"
    RAPL = "RAPL"
    ESTIMATED = "ESTIMATED"
    # Readings were missing when the image was charged.
    PARTIAL = "PARTIAL"
    NONE = "NONE"


MEASURED_SOURCES: Final = frozenset(
    {EnergySource.NVML_COUNTER, EnergySource.NVML_POWER, EnergySource.RAPL}
)
