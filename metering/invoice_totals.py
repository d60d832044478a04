"""From sums of usage lines to the lines and totals of an invoice: pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from metering.errors import CurrencyMixError
from metering.invoice_document import InvoiceLine, LineKind
from metering.money import MILLIONTHS, divide_half_even, round_to_minor_unit
from metering.price_document import Component, PriceDocument, Tier
from tenants.ids import PriceId

_NAMES: Final = {
    Component.PER_IMAGE: "Images",
    Component.PER_MEGAPIXEL_STEP: "Denoising",
    Component.PER_GPU_SECOND: "GPU time",
    Component.PER_KWH: "Electricity",
    Component.CAP: "Kept to the quoted maximum",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageLineSum:
    """Usage lines of a period that share all but their quantity and cost, summed."""

    component: Component
    model: str
    tier: Tier
    consumed_unit: str
    list_unit_price_nanos: Decimal | None
    price_id: PriceId
    image_count: int
    consumed_quantity: Decimal
    billed_cost_nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceTotals:
    """Lines that add up to ``total_nanos`` exactly."""

    lines: tuple[InvoiceLine, ...]
    subtotal_nanos: int
    tax_nanos: int
    rounding_nanos: int
    total_nanos: int


def total_usage(
    sums: Sequence[UsageLineSum], prices: Mapping[PriceId, PriceDocument], *, currency: str
) -> InvoiceTotals:
    """Add tax, by the price versions the usage was charged under, and round to the minor unit.

    Raises:
        CurrencyMixError: a price is in another currency than the invoice.
    """
    for price_id in {usage.price_id for usage in sums}:
        if prices[price_id].currency != currency:
            raise CurrencyMixError(
                f"price {price_id} is in {prices[price_id].currency}, not {currency}"
            )
    usage_lines = _usage_lines(sums)
    tax_lines = _tax_lines(sums, prices)
    subtotal_nanos = _sum_costs(usage_lines)
    tax_nanos = _sum_costs(tax_lines)
    total_nanos = round_to_minor_unit(subtotal_nanos + tax_nanos, currency)
    rounding_nanos = total_nanos - subtotal_nanos - tax_nanos
    return InvoiceTotals(
        lines=(*usage_lines, *tax_lines, *_rounding_line(rounding_nanos)),
        subtotal_nanos=subtotal_nanos,
        tax_nanos=tax_nanos,
        rounding_nanos=rounding_nanos,
        total_nanos=total_nanos,
    )


def _usage_lines(sums: Iterable[UsageLineSum]) -> list[InvoiceLine]:
    """One line for each model, tier, component and unit price, whatever its price version."""
    groups: dict[tuple[str, ...], list[UsageLineSum]] = {}
    for usage in sums:
        groups.setdefault(_line_key(usage), []).append(usage)
    return [_usage_line(groups[key]) for key in sorted(groups)]


def _line_key(usage: UsageLineSum) -> tuple[str, ...]:
    """What makes a line of its own, in the order lines are printed."""
    position = str(list(Component).index(usage.component))
    return (usage.model, usage.tier, position, str(usage.list_unit_price_nanos))


def _usage_line(group: Sequence[UsageLineSum]) -> InvoiceLine:
    first = group[0]
    price_ids = {usage.price_id for usage in group}
    return InvoiceLine(
        kind=LineKind.USAGE,
        description=_NAMES[first.component],
        billed_cost_nanos=sum(usage.billed_cost_nanos for usage in group),
        component=first.component,
        model=first.model,
        tier=first.tier,
        image_count=sum(usage.image_count for usage in group),
        price_id=first.price_id if len(price_ids) == 1 else None,
        consumed_quantity=sum((usage.consumed_quantity for usage in group), Decimal(0)),
        consumed_unit=first.consumed_unit,
        list_unit_price_nanos=first.list_unit_price_nanos,
    )


def _tax_lines(
    sums: Iterable[UsageLineSum], prices: Mapping[PriceId, PriceDocument]
) -> list[InvoiceLine]:
    """One line for each tax and rate; each is rounded once, on its whole base."""
    bases_nanos: Counter[tuple[str, int]] = Counter()
    for usage in sums:
        for tax in prices[usage.price_id].tax_rates:
            bases_nanos[tax.display_name, tax.rate_millionths] += usage.billed_cost_nanos
    return [
        InvoiceLine(
            kind=LineKind.TAX,
            description=display_name,
            billed_cost_nanos=divide_half_even(base_nanos * rate_millionths, MILLIONTHS),
        )
        for (display_name, rate_millionths), base_nanos in sorted(bases_nanos.items())
    ]


def _rounding_line(rounding_nanos: int) -> list[InvoiceLine]:
    if rounding_nanos == 0:
        return []
    return [
        InvoiceLine(
            kind=LineKind.ROUNDING, description="Rounding", billed_cost_nanos=rounding_nanos
        )
    ]


def _sum_costs(lines: Iterable[InvoiceLine]) -> int:
    return sum(line.billed_cost_nanos for line in lines)
