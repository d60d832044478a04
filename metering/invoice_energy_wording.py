"""From an invoice's energy and days to the figures and shares that are printed of them."""

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import ROUND_CEILING, Decimal
from typing import Final

from metering.energy_factors import EnergyFactors, kilowatt_hours
from metering.energy_source import MEASURED_SOURCES, EnergySource
from metering.invoice_document import Invoice, InvoiceDay, InvoiceEnergy
from metering.invoice_page import PrintedDay, PrintedEnergy
from metering.money import exact_text

_SOURCES: Final = {
    EnergySource.NVML_COUNTER: "measured, GPU’s counter",
    EnergySource.NVML_POWER: "measured, GPU’s power",
    EnergySource.RAPL: "measured, processor’s counter",
    EnergySource.ESTIMATED: "estimated",
    EnergySource.PARTIAL: "incomplete readings",
    EnergySource.NONE: "no readings",
}
# A kilowatt-hour to the milliwatt-hour: 3.6 J, below what one image takes.
_KWH_PLACES: Final = 6
_KWH_LAST_PLACE: Final = Decimal(1).scaleb(-_KWH_PLACES)
# A 95 % interval of a normal error.
_DEVIATIONS: Final = Decimal("1.96")
_GRAMS_PER_KILOGRAM: Final = 1000


def printed_energy(invoice: Invoice) -> tuple[PrintedEnergy, ...]:
    """One row for each model and source, bars in proportion to the greatest."""
    greatest = max((part.energy_millijoules for part in invoice.energy), default=0)
    return tuple(_energy(part, greatest) for part in invoice.energy)


def energy_total(invoice: Invoice) -> str:
    """Kilowatt-hours of all images."""
    total = sum(part.energy_millijoules for part in invoice.energy)
    return f"{kilowatt_hours(total):,.{_KWH_PLACES}f}"


def carbon_total(invoice: Invoice) -> str:
    """CO₂ equivalent of all images; empty where some of them have no factors."""
    if not invoice.energy or any(part.factors is None for part in invoice.energy):
        return ""
    return _mass(sum((_grams(part) for part in invoice.energy), Decimal(0)))


def factor_sentences(invoice: Invoice) -> tuple[str, ...]:
    """Say which factors were applied, each version once."""
    versions: list[EnergyFactors] = []
    for part in invoice.energy:
        if part.factors is not None and part.factors not in versions:
            versions.append(part.factors)
    return tuple(
        f"CO₂e = energy × PUE {exact_text(version.pue)} × "
        f"{exact_text(version.carbon_grams_per_kwh)} g/kWh ({version.source})"
        for version in versions
    )


def printed_days(invoice: Invoice) -> tuple[PrintedDay, ...]:
    """Every day from the first to the last with images, bars in proportion to the greatest."""
    if not invoice.days:
        return ()
    counts = Counter({day.day: day.image_count for day in invoice.days})
    greatest = max(counts.values())
    return tuple(
        PrintedDay(
            label=str(day.day),
            count=f"{counts[day]:,}",
            share=counts[day] / greatest,
            is_greatest=counts[day] == greatest,
        )
        for day in _span(invoice.days)
    )


def _span(days: Sequence[InvoiceDay]) -> list[date]:
    first, last = min(day.day for day in days), max(day.day for day in days)
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def _energy(part: InvoiceEnergy, greatest_millijoules: int) -> PrintedEnergy:
    return PrintedEnergy(
        model=part.model,
        image_count=f"{part.image_count:,}",
        kilowatt_hours=f"{kilowatt_hours(part.energy_millijoules):,.{_KWH_PLACES}f}",
        interval=_interval(part),
        joules_per_image=f"{Decimal(part.energy_millijoules) / 1000 / part.image_count:,.1f}",
        carbon="" if part.factors is None else _mass(_grams(part)),
        source=_SOURCES[part.energy_source],
        is_measured=part.energy_source in MEASURED_SOURCES,
        share=part.energy_millijoules / greatest_millijoules if greatest_millijoules else 0.0,
    )


def _interval(part: InvoiceEnergy) -> str:
    """Return the 95 % interval of a reading: rounded up, so that none claims to be exact.

    An estimate has none: how far its model is off nobody measured.
    """
    if part.energy_source not in MEASURED_SOURCES or not part.energy_error_millijoules:
        return ""
    error = kilowatt_hours(part.energy_error_millijoules) * _DEVIATIONS
    return f"± {error.quantize(_KWH_LAST_PLACE, ROUND_CEILING):,f}"


def _grams(part: InvoiceEnergy) -> Decimal:
    return (
        Decimal(0) if part.factors is None else part.factors.carbon_grams(part.energy_millijoules)
    )


def _mass(grams: Decimal) -> str:
    if grams >= _GRAMS_PER_KILOGRAM:
        return f"{grams / _GRAMS_PER_KILOGRAM:,.3f} kg"
    return f"{grams:,.3f} g"
