"""What a period's end makes of its usage: volume tiers, discounts and minimum as lines. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from metering.invoice_document import InvoiceLine, LineKind
from metering.parked_energy import ParkedEnergy
from metering.period_charges import period_charges, volume_settlements
from metering.period_counts import PeriodCounts
from metering.price_document import Component, PriceDocument, Tier
from metering.units import UNITS
from tenants.ids import PriceId

COMPONENT_NAMES: Final = {
    Component.PER_IMAGE: "Images",
    Component.PER_MEGAPIXEL_STEP: "Denoising",
    Component.PER_GPU_SECOND: "GPU time",
    Component.PER_KWH: "Electricity",
    Component.CAP: "Kept to the quoted maximum",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageLineSum:
    """Usage lines of a period that share all but their quantity and cost, summed.

    ``period`` is empty, or the earlier month that late usage belongs to.
    """

    component: Component
    model: str
    tier: Tier
    consumed_unit: str
    list_unit_price_nanos: Decimal | None
    price_id: PriceId
    image_count: int
    consumed_quantity: Decimal
    billed_cost_nanos: int
    period: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodEnd:
    """The lines, in their order, and by which price each of their sums is taxed."""

    lines: tuple[InvoiceLine, ...]
    taxable: tuple[tuple[PriceDocument, int], ...]


def settle_period(
    sums: Sequence[UsageLineSum],
    prices: Mapping[PriceId, PriceDocument],
    *,
    period_price: PriceDocument | None,
    captured_nanos: int,
    parked: ParkedEnergy,
) -> PeriodEnd:
    """Settle volume tiers by each version's own rules, take off discounts, pass on, fill up.

    What is passed on is the energy of workers that waited, where ``period_price`` says so.

    What came late keeps the price it was captured at: its month has been settled.
    """
    volume = [
        (prices[price_id], line)
        for price_id in sorted({usage.price_id for usage in sums})
        for line in _volume_lines(prices[price_id], sums, price_id)
    ]
    settled_nanos = captured_nanos + sum(line.billed_cost_nanos for _, line in volume)
    charges = [] if period_price is None else _charge_lines(period_price, settled_nanos, parked)
    taxable = [(price, line.billed_cost_nanos) for price, line in volume]
    if period_price is not None:
        taxable += [(period_price, line.billed_cost_nanos) for line in charges]
    return PeriodEnd(lines=(*(line for _, line in volume), *charges), taxable=tuple(taxable))


def _volume_lines(
    price: PriceDocument, sums: Sequence[UsageLineSum], price_id: PriceId
) -> list[InvoiceLine]:
    counted = _counts([usage for usage in sums if not usage.period])
    charged = [usage for usage in sums if usage.price_id == price_id and not usage.period]
    return [
        InvoiceLine(
            kind=LineKind.VOLUME_TIER,
            description=f"{COMPONENT_NAMES[settlement.component]} at the month’s volume price",
            billed_cost_nanos=settlement.amount_nanos,
            component=settlement.component,
            model=settlement.model,
            tier=settlement.tier,
            price_id=price_id,
        )
        for settlement in volume_settlements(price, charged, counted)
    ]


def _charge_lines(
    price: PriceDocument, settled_nanos: int, parked: ParkedEnergy
) -> list[InvoiceLine]:
    charges = period_charges(price, settled_nanos, parked=parked)
    lines = [
        InvoiceLine(
            kind=LineKind.DISCOUNT,
            description=discount.display_name,
            billed_cost_nanos=discount.amount_nanos,
        )
        for discount in charges.discounts
    ]
    if charges.parked_nanos:
        lines.append(_parked_line(price, parked, charges.parked_nanos))
    if charges.minimum_shortfall_nanos:
        lines.append(
            InvoiceLine(
                kind=LineKind.MINIMUM,
                description="Up to the month’s minimum",
                billed_cost_nanos=charges.minimum_shortfall_nanos,
            )
        )
    return lines


def _parked_line(price: PriceDocument, parked: ParkedEnergy, cost_nanos: int) -> InvoiceLine:
    unit = UNITS[Component.PER_KWH]
    return InvoiceLine(
        kind=LineKind.PARKED_ENERGY,
        description="Electricity of waiting workers",
        billed_cost_nanos=cost_nanos,
        consumed_quantity=unit.quantity(parked.charged_millijoules(price)),
        consumed_unit=unit.name,
        list_unit_price_nanos=Decimal(price.parked_kwh_price_nanos),
    )


def _counts(sums: Sequence[UsageLineSum]) -> PeriodCounts:
    """What the period consumed, in the whole numbers that tiers count."""
    quantities: dict[tuple[Component, str], Fraction] = {}
    for usage in sums:
        if usage.component is not Component.CAP:
            key = (usage.component, usage.model)
            exact = Fraction(usage.consumed_quantity) * UNITS[usage.component].count
            quantities[key] = quantities.get(key, Fraction(0)) + exact
    return PeriodCounts(counts={key: round(quantity) for key, quantity in quantities.items()})
