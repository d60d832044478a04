"""From sums of usage lines to the lines and totals of an invoice: pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from metering.errors import CurrencyMixError
from metering.invoice_document import InvoiceLine, LineKind
from metering.invoice_period_end import (
    COMPONENT_NAMES,
    PeriodEnd,
    UsageLineSum,
    settle_period,
)
from metering.money import MILLIONTHS, divide_half_even, round_to_minor_unit
from metering.parked_energy import NOTHING_PARKED, ParkedEnergy
from metering.price_document import Component, PriceDocument
from tenants.ids import PriceId


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceTotals:
    """Lines that add up to ``total_nanos`` exactly, and who owes what of it where.

    Of the total ``wallet_due_nanos`` is what the wallet went below zero for; the rest (tax,
    rounding) is owed beside it.
    """

    lines: tuple[InvoiceLine, ...]
    subtotal_nanos: int
    tax_nanos: int
    credit_applied_nanos: int
    rounding_nanos: int
    total_nanos: int
    wallet_due_nanos: int


def total_invoice(
    sums: Sequence[UsageLineSum],
    prices: Mapping[PriceId, PriceDocument],
    *,
    currency: str,
    prepaid_nanos: int = 0,
    period_price: PriceDocument | None = None,
    parked: ParkedEnergy = NOTHING_PARKED,
) -> InvoiceTotals:
    """Settle the period, add tax, take off what was prepaid, round.

    Usage is taxed by the price version it was charged under. Volume tiers are settled for each of
    them; ``period_price``, in effect at the period's end, has the discounts and the minimum. Credit
    pays what the wallet was charged, before tax; tax is on all of it, whoever paid when.

    Raises:
        CurrencyMixError: a price is in another currency than the invoice.
    """
    for price_id in {usage.price_id for usage in sums}:
        if prices[price_id].currency != currency:
            raise CurrencyMixError(
                f"price {price_id} is in {prices[price_id].currency}, not {currency}"
            )
    usage_lines = _usage_lines(sums)
    captured_nanos = _sum_costs(usage_lines)
    end = settle_period(
        sums, prices, period_price=period_price, captured_nanos=captured_nanos, parked=parked
    )
    tax_lines = _tax_lines(sums, prices, end)
    subtotal_nanos = captured_nanos + _sum_costs(end.lines)
    tax_nanos = _sum_costs(tax_lines)
    # What is taken off goes back to the wallet; what is added is owed beside it.
    wallet_nanos = captured_nanos + sum(min(0, line.billed_cost_nanos) for line in end.lines)
    credit_nanos = max(0, min(prepaid_nanos, wallet_nanos))
    exact_nanos = subtotal_nanos + tax_nanos - credit_nanos
    total_nanos = round_to_minor_unit(exact_nanos, currency)
    rounding_nanos = total_nanos - exact_nanos
    return InvoiceTotals(
        lines=(
            *usage_lines,
            *end.lines,
            *tax_lines,
            *_line(LineKind.CREDIT_APPLIED, "Prepaid credit", -credit_nanos),
            *_line(LineKind.ROUNDING, "Rounding", rounding_nanos),
        ),
        subtotal_nanos=subtotal_nanos,
        tax_nanos=tax_nanos,
        credit_applied_nanos=credit_nanos,
        rounding_nanos=rounding_nanos,
        total_nanos=total_nanos,
        wallet_due_nanos=wallet_nanos - credit_nanos,
    )


def _usage_lines(sums: Iterable[UsageLineSum]) -> list[InvoiceLine]:
    """One line for each model, tier, component and unit price, whatever its price version."""
    groups: dict[tuple[str, ...], list[UsageLineSum]] = {}
    for usage in sums:
        groups.setdefault(_line_key(usage), []).append(usage)
    return [_usage_line(groups[key]) for key in sorted(groups)]


def _line_key(usage: UsageLineSum) -> tuple[str, ...]:
    """What makes a line of its own, in the order lines are printed: what came late at the end."""
    position = str(list(Component).index(usage.component))
    price = str(usage.list_unit_price_nanos)
    return (usage.period, usage.model, usage.tier, position, price)


def _usage_line(group: Sequence[UsageLineSum]) -> InvoiceLine:
    first = group[0]
    price_ids = {usage.price_id for usage in group}
    name = COMPONENT_NAMES[first.component]
    return InvoiceLine(
        kind=LineKind.ADJUSTMENT if first.period else LineKind.USAGE,
        description=f"{name}, late usage of {first.period}" if first.period else name,
        billed_cost_nanos=sum(usage.billed_cost_nanos for usage in group),
        component=first.component,
        model=first.model,
        tier=first.tier,
        image_count=sum(usage.image_count for usage in group),
        price_id=first.price_id if len(price_ids) == 1 else None,
        consumed_quantity=sum((usage.consumed_quantity for usage in group), Decimal(0)),
        consumed_unit=first.consumed_unit,
        list_unit_price_nanos=first.list_unit_price_nanos,
        period=first.period,
    )


def _tax_lines(
    sums: Iterable[UsageLineSum], prices: Mapping[PriceId, PriceDocument], end: PeriodEnd
) -> list[InvoiceLine]:
    """One line for each tax and rate; each is rounded once, on its whole base."""
    bases_nanos: Counter[tuple[str, int]] = Counter()
    charges = [(prices[usage.price_id], usage.billed_cost_nanos) for usage in sums]
    for price, cost_nanos in (*charges, *end.taxable):
        for tax in price.tax_rates:
            bases_nanos[tax.display_name, tax.rate_millionths] += cost_nanos
    return [
        InvoiceLine(
            kind=LineKind.TAX,
            description=display_name,
            billed_cost_nanos=divide_half_even(base_nanos * rate_millionths, MILLIONTHS),
        )
        for (display_name, rate_millionths), base_nanos in sorted(bases_nanos.items())
    ]


def _line(kind: LineKind, description: str, cost_nanos: int) -> list[InvoiceLine]:
    """One line, or none where there is nothing to say."""
    if cost_nanos == 0:
        return []
    return [InvoiceLine(kind=kind, description=description, billed_cost_nanos=cost_nanos)]


def _sum_costs(lines: Iterable[InvoiceLine]) -> int:
    return sum(line.billed_cost_nanos for line in lines)
