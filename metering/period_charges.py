"""What a billing period costs beyond its images: volume tiers, discounts, minimum. All pure.

They are booked at the period's end as transfers of their own, in this order: what volume tiers
settle, then the discounts on that total, then what is missing to the minimum.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from typing import Protocol

from metering.money import MILLIONTHS, divide_half_even, storable_nanos
from metering.parked_energy import NOTHING_PARKED, ParkedEnergy
from metering.period_counts import PeriodCounts
from metering.price_document import Component, PriceDocument, Tier, TierMode
from metering.quantity_tiers import unit_price_at
from metering.units import UNITS


class ChargedUsage(Protocol):
    """Usage lines of one price version, summed; as ``invoice_period_end.UsageLineSum`` has them."""

    @property
    def component(self) -> Component: ...
    @property
    def model(self) -> str: ...
    @property
    def tier(self) -> Tier: ...
    @property
    def consumed_quantity(self) -> Decimal: ...
    @property
    def billed_cost_nanos(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSettlement:
    """What the tier of a period's last unit makes of what was charged; negative is given back."""

    component: Component
    model: str
    tier: Tier
    amount_nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscountCharge:
    """What a discount takes off; never positive."""

    display_name: str
    amount_nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodCharges:
    """What a period's end adds to ``subtotal_nanos``."""

    subtotal_nanos: int
    discounts: tuple[DiscountCharge, ...]
    parked_nanos: int
    minimum_shortfall_nanos: int

    @property
    def net_nanos(self) -> int:
        """What the period costs before tax."""
        taken_off = sum(discount.amount_nanos for discount in self.discounts)
        return self.subtotal_nanos + taken_off + self.parked_nanos + self.minimum_shortfall_nanos


def volume_settlements(
    price: PriceDocument, charged: Iterable[ChargedUsage], counted: PeriodCounts
) -> tuple[VolumeSettlement, ...]:
    """Settle the volume tiers of one price version, whose usage of the period is ``charged``.

    ``counted`` is what the tenant consumed in the whole period, under whatever version: it says
    which tier the last unit reached. Each model and tier of urgency is rounded once. What holds
    kept off is not given back again: a refund ends at what is owed, or at what was captured.
    """
    consumed: dict[tuple[Component, str, Tier], tuple[Fraction, int]] = {}
    for usage in charged:
        key = (usage.component, usage.model, usage.tier)
        quantity, cost_nanos = consumed.get(key, (Fraction(0), 0))
        consumed[key] = (
            quantity + Fraction(usage.consumed_quantity),
            cost_nanos + usage.billed_cost_nanos,
        )
    settlements = [
        VolumeSettlement(
            component=component,
            model=model,
            tier=tier,
            amount_nanos=_owed(price, (component, model, tier), quantity, counted) - cost_nanos,
        )
        for (component, model, tier), (quantity, cost_nanos) in sorted(consumed.items())
        if _is_volume(price, component, model)
    ]
    kept_off_nanos = {
        (model, tier): -cost_nanos
        for (component, model, tier), (_, cost_nanos) in consumed.items()
        if component is Component.CAP
    }
    return tuple(
        settlement
        for settlement in _less_kept_off(settlements, kept_off_nanos)
        if settlement.amount_nanos
    )


def period_charges(
    price: PriceDocument, subtotal_nanos: int, *, parked: ParkedEnergy = NOTHING_PARKED
) -> PeriodCharges:
    """Take discounts off what a period's images cost, settled, and fill it up to the minimum.

    Energy of waiting workers is passed on: no discount is taken off it, but it counts towards the
    minimum. ``price`` is the version in effect in the period's last instant.

    Raises:
        AmountOverflowError: the result is more than the ledger can hold.
    """
    discounts = _discounts(price, subtotal_nanos)
    parked_nanos = _parked_nanos(price, parked)
    taken_off_nanos = sum(discount.amount_nanos for discount in discounts)
    net_nanos = subtotal_nanos + taken_off_nanos + parked_nanos
    has_minimum = price.minimum_per_period_nanos > 0
    shortfall_nanos = max(0, price.minimum_per_period_nanos - net_nanos) if has_minimum else 0
    storable_nanos(net_nanos + shortfall_nanos)
    return PeriodCharges(
        subtotal_nanos=subtotal_nanos,
        discounts=discounts,
        parked_nanos=parked_nanos,
        minimum_shortfall_nanos=shortfall_nanos,
    )


def _parked_nanos(price: PriceDocument, parked: ParkedEnergy) -> int:
    charged_millijoules = parked.charged_millijoules(price)
    return divide_half_even(
        charged_millijoules * price.parked_kwh_price_nanos, UNITS[Component.PER_KWH].count
    )


def _is_volume(price: PriceDocument, component: Component, model: str) -> bool:
    part = price.component_of(component, model)
    return part is not None and part.tier_mode is TierMode.VOLUME


def _owed(
    price: PriceDocument,
    group: tuple[Component, str, Tier],
    quantity: Fraction,
    counted: PeriodCounts,
) -> int:
    """What a quantity costs at the price of the period's last unit."""
    component, model, tier = group
    part = price.component_of(component, model)
    assert part is not None, "it was charged"
    reached = counted.of(price, part)
    unit_price_nanos = unit_price_at(part, UNITS[component].count, quantity=reached)
    owed = quantity * unit_price_nanos * price.multiplier_millionths(tier)
    return divide_half_even(owed.numerator, owed.denominator * MILLIONTHS)


def _less_kept_off(
    settlements: Sequence[VolumeSettlement], kept_off_nanos: Mapping[tuple[str, Tier], int]
) -> list[VolumeSettlement]:
    """Take what holds kept off an urgency's images from what is given back for them in all."""
    refunds_nanos = dict.fromkeys(kept_off_nanos, 0)
    for settlement in settlements:
        group = (settlement.model, settlement.tier)
        if group in refunds_nanos:
            refunds_nanos[group] -= settlement.amount_nanos
    left_nanos = {
        group: max(0, min(kept_off_nanos[group], refund_nanos))
        for group, refund_nanos in refunds_nanos.items()
    }
    reduced: list[VolumeSettlement] = []
    for settlement in settlements:
        group = (settlement.model, settlement.tier)
        taken_nanos = min(left_nanos.get(group, 0), max(0, -settlement.amount_nanos))
        if taken_nanos:
            left_nanos[group] -= taken_nanos
        reduced.append(replace(settlement, amount_nanos=settlement.amount_nanos + taken_nanos))
    return reduced


def _discounts(price: PriceDocument, subtotal_nanos: int) -> tuple[DiscountCharge, ...]:
    """Each discount is of the same total; together they never give more than it."""
    charges: list[DiscountCharge] = []
    left_nanos = max(0, subtotal_nanos)
    for discount in price.discounts:
        above_nanos = max(0, subtotal_nanos - discount.threshold_nanos)
        share_nanos = divide_half_even(above_nanos * discount.rate_millionths, MILLIONTHS)
        off_nanos = min(share_nanos, left_nanos)
        left_nanos -= off_nanos
        if off_nanos:
            charges.append(
                DiscountCharge(display_name=discount.display_name, amount_nanos=-off_nanos)
            )
    return tuple(charges)
