"""Factors are versions with a source; the one that holds at a time is applied, exactly."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from metering.energy_factors import EnergyFactors, factors_at, read_energy_factors
from metering.errors import EnergyFactorsInvalidError

SHIPPED = Path(__file__).resolve().parents[3] / "deploy" / "energy_factors.toml"
TWO = """
[[versions]]
effective_time = 2026-06-01T00:00:00Z
pue = 1.1
carbon_grams_per_kwh = 300
source = "summer"

[[versions]]
effective_time = 2026-01-01T00:00:00Z
pue = 1.25
carbon_grams_per_kwh = 400.5
source = "winter"
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "factors.toml"
    path.write_text(text)
    return path


def test_the_version_that_holds_is_the_last_one_that_has_begun(tmp_path: Path) -> None:
    versions = read_energy_factors(write(tmp_path, TWO))

    def source_at(month: int, year: int = 2026) -> str | None:
        found = factors_at(versions, datetime(year, month, 1, tzinfo=UTC))
        return found.source if found else None

    assert source_at(12, 2025) is None
    assert (source_at(1), source_at(5), source_at(6)) == ("winter", "winter", "summer")


def test_energy_becomes_carbon_exactly(tmp_path: Path) -> None:
    winter = read_energy_factors(write(tmp_path, TWO))[0]

    # A kilowatt-hour.
    assert winter.facility_kilowatt_hours(3_600_000_000) == Decimal("1.25")
    assert winter.carbon_grams(3_600_000_000) == Decimal("500.625")


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        ("pue = 1.25", "pue = 0.9"),
        ("pue = 1.25", "pue = 6"),
        ("carbon_grams_per_kwh = 300", "carbon_grams_per_kwh = -1"),
        ("carbon_grams_per_kwh = 300", "carbon_grams_per_kwh = 2001"),
        ('source = "winter"', 'source = " "'),
        ("2026-06-01T00:00:00Z", "2026-06-01T00:00:00"),
        ("2026-06-01T00:00:00Z", "2026-01-01T00:00:00Z"),
        ("pue = 1.1\n", ""),
        ("[[versions]]", "[[versions"),
    ],
)
def test_a_file_with_what_cannot_be_is_refused(tmp_path: Path, written: str, instead: str) -> None:
    with pytest.raises(EnergyFactorsInvalidError):
        read_energy_factors(write(tmp_path, TWO.replace(written, instead)))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EnergyFactorsInvalidError):
        read_energy_factors(tmp_path / "nowhere.toml")


def test_the_shipped_factors_are_versions_with_sources() -> None:
    versions = read_energy_factors(SHIPPED)

    assert all(isinstance(version, EnergyFactors) and version.source for version in versions)
