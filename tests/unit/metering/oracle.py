"""An independent price of an image: from the definition alone, in exact fractions."""

from fractions import Fraction

from metering.period_counts import PeriodCounts
from metering.price_document import Component, PriceComponent, PriceDocument
from metering.rating import RatingFacts

COUNTED_IN_ONE = {
    Component.PER_IMAGE: 1,
    Component.PER_MEGAPIXEL_STEP: 10**6,
    Component.PER_GPU_SECOND: 10**6,
    Component.PER_KWH: 1000 * 3600 * 1000,
}


def oracle_nanos(
    price: PriceDocument, facts: RatingFacts, counted: PeriodCounts
) -> dict[Component, int]:
    """What each component costs, rounded once by Python's own half to even."""
    quantities = {
        Component.PER_IMAGE: Fraction(1),
        Component.PER_MEGAPIXEL_STEP: Fraction(
            facts.width * facts.height * facts.num_inference_steps, 10**6
        ),
        Component.PER_GPU_SECOND: Fraction(round(Fraction(facts.gpu_seconds) * 10**6), 10**6),
        Component.PER_KWH: Fraction(facts.energy_millijoules, 1000 * 3600 * 1000),
    }
    measured = facts.energy_source in {"NVML_COUNTER", "NVML_POWER", "RAPL"}
    estimated = facts.energy_source == "ESTIMATED" and price.charge_estimated_energy
    if not measured and not estimated:
        del quantities[Component.PER_KWH]
    multiplier = Fraction(1)
    for part in price.tier_multipliers:
        if part.tier == facts.tier:
            multiplier = Fraction(part.multiplier_millionths, 10**6)
    costs: dict[Component, int] = {}
    for wanted in (None, facts.model):
        for part in price.components:
            if part.model == wanted and part.kind in quantities:
                before = _before(price, part, counted)
                exact = _cost(part, before, before + quantities[part.kind])
                costs[part.kind] = round(exact * multiplier)
    return costs


def _before(price: PriceDocument, part: PriceComponent, counted: PeriodCounts) -> Fraction:
    """What the period had used of it: of its model, or of all models without their own price."""
    own = {other.model for other in price.components if other.kind is part.kind and other.model}
    return sum(
        (
            Fraction(count, COUNTED_IN_ONE[kind])
            for (kind, model), count in counted.counts.items()
            if kind is part.kind and (model == part.model if part.model else model not in own)
        ),
        Fraction(0),
    )


def _cost(part: PriceComponent, start: Fraction, end: Fraction) -> Fraction:
    """The area under the unit price from one quantity to another; all at the end's for VOLUME."""
    edges = [tier.up_to_quantity for tier in part.lower_tiers]
    prices = [*(tier.unit_price_nanos for tier in part.lower_tiers), part.unit_price_nanos]
    if part.tier_mode == "VOLUME":
        reached = sum(end > edge for edge in edges)
        return (end - start) * prices[reached]
    total = Fraction(0)
    lows = [Fraction(0), *map(Fraction, edges)]
    highs = [*map(Fraction, edges), max(end, Fraction(max(edges, default=0)))]
    for low, high, price in zip(lows, highs, prices, strict=True):
        total += max(Fraction(0), min(end, high) - max(start, low)) * price
    return total
