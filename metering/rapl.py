"""RAPL: the processor's own energy counters, where the kernel lets us read them."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from metering.energy_counter import CounterFacts
from metering.energy_source import EnergySource
from metering.errors import CounterUnavailableError

POWERCAP_DIRECTORY: Final = Path("/sys/class/powercap")
_MICROJOULES_PER_MILLIJOULE: Final = 1000
# The kernel's counter moves about every millisecond; a read takes microseconds.
_ALWAYS_MOVES: Final = 0


@dataclass(slots=True)
class _Package:
    """One processor package; its counter begins again at zero behind `range_microjoules`."""

    energy_path: Path
    range_microjoules: int
    last_microjoules: int
    counted_microjoules: int = 0

    def count(self) -> int:
        """Return microjoules since this object was made.

        A counter behind its last value has wrapped once: at 200 W the usual range of 262 kJ lasts
        22 minutes, and it is read many times a second.
        """
        now_microjoules = _number_in(self.energy_path)
        difference = now_microjoules - self.last_microjoules
        if difference < 0:
            difference += self.range_microjoules
        self.last_microjoules = now_microjoules
        self.counted_microjoules += difference
        return self.counted_microjoules


class RaplCounter:
    """The packages of this machine together, since this object was made."""

    def __init__(self, packages: Sequence[_Package]) -> None:
        self._packages = packages
        self.facts = CounterFacts(
            source=EnergySource.RAPL,
            display_name=f"{platform.machine()} processor (RAPL)",
            refresh_nanos=_ALWAYS_MOVES,
            # The files count on alone, but wrap unseen.
            counts_alone=False,
        )

    def read(self, now_nanos: int) -> int:
        total = sum(package.count() for package in self._packages)
        return total // _MICROJOULES_PER_MILLIJOULE


def open_rapl(directory: Path = POWERCAP_DIRECTORY) -> RaplCounter | None:
    """Return the processor's counter; None where there is none or only root may read it."""
    packages: list[_Package] = []
    # intel-rapl:0 is a package; intel-rapl:0:0 is a part of it and would be counted twice.
    for package_directory in sorted(directory.glob("intel-rapl:[0-9]*")):
        if package_directory.name.count(":") != 1:
            continue
        energy_path = package_directory / "energy_uj"
        try:
            range_microjoules = _number_in(package_directory / "max_energy_range_uj")
            now_microjoules = _number_in(energy_path)
        except CounterUnavailableError:
            return None
        packages.append(_Package(energy_path, range_microjoules, now_microjoules))
    return RaplCounter(packages) if packages else None


def _number_in(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError) as error:
        raise CounterUnavailableError(f"{path} cannot be read: {error}") from error
