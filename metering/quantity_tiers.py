"""Tiers of quantity: which unit of a period costs what."""

from dataclasses import dataclass

from metering.price_document import PriceComponent, TierMode


@dataclass(frozen=True, slots=True)
class Portion:
    """A part of a quantity that has one unit price, in the whole numbers it is counted in."""

    count: int
    unit_price_nanos: int


def portions(part: PriceComponent, unit_count: int, *, before: int, count: int) -> list[Portion]:
    """Divide what is consumed among the tiers, after what the period consumed before it.

    With volume tiers all of it has the price of its last unit's tier; what the period's other
    units should then have cost is settled at its end. There is always one portion, be it of 0.
    """
    if part.tier_mode is TierMode.VOLUME or count == 0:
        return [Portion(count, unit_price_at(part, unit_count, quantity=before + count))]
    parts: list[Portion] = []
    position, end = before, before + count
    for tier in part.lower_tiers:
        tier_end = min(tier.up_to_quantity * unit_count, end)
        if tier_end > position:
            parts.append(Portion(tier_end - position, tier.unit_price_nanos))
            position = tier_end
    if end > position:
        parts.append(Portion(end - position, part.unit_price_nanos))
    return parts


def unit_price_at(part: PriceComponent, unit_count: int, *, quantity: int) -> int:
    """Return the unit price of the tier in which a period's quantity ends."""
    for tier in part.lower_tiers:
        if quantity <= tier.up_to_quantity * unit_count:
            return tier.unit_price_nanos
    return part.unit_price_nanos


def dearest_nanos(part: PriceComponent, unit_count: int, before: int) -> int:
    """Return the highest unit price that can still be reached after a quantity."""
    reachable = [
        tier.unit_price_nanos
        for tier in part.lower_tiers
        if before < tier.up_to_quantity * unit_count
    ]
    return max(*reachable, part.unit_price_nanos) if reachable else part.unit_price_nanos
