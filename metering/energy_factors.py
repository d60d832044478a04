"""From a GPU's energy to the building's and to carbon dioxide: versioned factors with a source.

A reading is never changed by them: they are applied when a report is written, and the report names
the version it took.
"""

import tomllib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter, ValidationError

from metering.errors import EnergyFactorsInvalidError
from metering.money import exact_text

_CARBON_PLACES: Final = Decimal("0.001")
_MILLIJOULES_PER_KWH: Final = 3_600_000_000
# Twice what the worst grid and the worst building have; more is a slip of the pen.
_CARBON_GRAMS_PER_KWH_MAX: Final = 2_000
_PUE_MAX: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyFactors:
    """What holds from ``effective_time`` on.

    ``pue`` is the power usage effectiveness: energy of the building over energy of its computers,
    at least 1. ``carbon_grams_per_kwh`` is the CO₂ equivalent of the grid. ``source`` says where
    both come from and is printed.
    """

    effective_time: datetime
    pue: Decimal
    carbon_grams_per_kwh: Decimal
    source: str

    def __post_init__(self) -> None:
        if self.effective_time.tzinfo is None:
            raise EnergyFactorsInvalidError("effective_time needs a time zone")
        if not 1 <= self.pue <= _PUE_MAX:
            raise EnergyFactorsInvalidError(f"pue must be between 1 and {_PUE_MAX}")
        if not 0 <= self.carbon_grams_per_kwh <= _CARBON_GRAMS_PER_KWH_MAX:
            raise EnergyFactorsInvalidError(
                f"carbon_grams_per_kwh must be between 0 and {_CARBON_GRAMS_PER_KWH_MAX}"
            )
        if not self.source.strip():
            raise EnergyFactorsInvalidError("a factor without a source is a guess")

    def facility_kilowatt_hours(self, energy_millijoules: int) -> Decimal:
        """Energy of the building for what its GPUs took."""
        return kilowatt_hours(energy_millijoules) * self.pue

    def carbon_grams(self, energy_millijoules: int) -> Decimal:
        """Grams of CO₂ equivalent for what its GPUs took."""
        return self.facility_kilowatt_hours(energy_millijoules) * self.carbon_grams_per_kwh


def kilowatt_hours(energy_millijoules: int) -> Decimal:
    """Write millijoules as kilowatt-hours, to 28 digits."""
    return Decimal(energy_millijoules) / _MILLIJOULES_PER_KWH


def carbon_text(carbon_grams: Decimal) -> str:
    """Write grams to the milligram; an image has some hundredths of a gram."""
    return exact_text(carbon_grams.quantize(_CARBON_PLACES))


def read_energy_factors(path: Path) -> tuple[EnergyFactors, ...]:
    """Read a file of versions, the oldest first.

    Raises:
        EnergyFactorsInvalidError: it is no such file, or two versions begin at the same time.
    """
    try:
        # Decimals stay decimals: 1.1 is not 1.100000000000000088.
        tables = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
        versions = _ADAPTER.validate_python(tables.get("versions", []))
    except (OSError, ValueError, ValidationError) as error:
        raise EnergyFactorsInvalidError(f"{path}: {error}") from error
    ordered = tuple(sorted(versions, key=lambda version: version.effective_time))
    if len({version.effective_time for version in ordered}) < len(ordered):
        raise EnergyFactorsInvalidError(f"{path}: two versions begin at the same time")
    return ordered


def factors_at(versions: Sequence[EnergyFactors], time: datetime) -> EnergyFactors | None:
    """Return the version that holds at a time; the versions come ordered."""
    begun = bisect_right([version.effective_time for version in versions], time)
    return versions[begun - 1] if begun else None


_ADAPTER: Final = TypeAdapter(list[EnergyFactors])
