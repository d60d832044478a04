"""From facts to a price: pure, exact, each component rounded once to nanos, half to even."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Final

from metering.energy_source import MEASURED_SOURCES, EnergySource
from metering.errors import UsageInvalidError
from metering.money import MILLIONTHS, divide_half_even, divide_up, storable_nanos
from metering.period_counts import NOTHING_COUNTED, PeriodCounts
from metering.price_document import Component, PriceComponent, PriceDocument, Tier
from metering.quantity_tiers import Portion, dearest_nanos, portions
from metering.units import UNITS, shortest

_PIXELS_PER_MEGAPIXEL: Final = 1_000_000
_MICROSECONDS_PER_SECOND: Final = 1_000_000
_MICROSECONDS_PER_MILLISECOND: Final = 1_000
# Far beyond any image, and small enough that every quantity is an exact decimal of 28 digits.
_PIXEL_STEPS_MAX: Final = 10**15
_GPU_SECONDS_MAX: Final = 10**9
_MILLIJOULES_MAX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderedImage:
    """What is known of an image before it is drawn."""

    model: str
    tier: Tier
    width: int
    height: int
    num_inference_steps: int

    def __post_init__(self) -> None:
        if min(self.width, self.height, self.num_inference_steps) < 1:
            raise UsageInvalidError("width, height and steps of an image are positive")
        if self.pixel_steps > _PIXEL_STEPS_MAX:
            raise UsageInvalidError(f"{self.pixel_steps} pixel-steps are no image")

    @property
    def pixel_steps(self) -> int:
        return self.width * self.height * self.num_inference_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class RatingFacts(OrderedImage):
    """What an image consumed, as far as it was known when it was charged."""

    gpu_seconds: float
    energy_millijoules: int
    energy_source: EnergySource

    def __post_init__(self) -> None:
        # Not super(): it does not know the copy of this class that slots=True makes.
        OrderedImage.__post_init__(self)
        # Not a number fails this too.
        if not 0 <= self.gpu_seconds <= _GPU_SECONDS_MAX:
            raise UsageInvalidError(f"{self.gpu_seconds} GPU-seconds cannot be")
        if not 0 <= self.energy_millijoules <= _MILLIJOULES_MAX:
            raise UsageInvalidError(f"{self.energy_millijoules} mJ cannot be")

    @property
    def gpu_microseconds(self) -> int:
        """GPU time in the whole microseconds it is priced in."""
        return round(Fraction(self.gpu_seconds) * _MICROSECONDS_PER_SECOND)


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedLine:
    """One line of an image's price.

    ``list_unit_price_nanos`` includes the tier's multiplier; its decimals are exact.
    ``billed_cost_nanos`` is quantity × unit price, rounded once.
    """

    component: Component
    consumed_quantity: Decimal
    consumed_unit: str
    list_unit_price_nanos: Decimal
    billed_cost_nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rated:
    """An image's price; the lines add up to the total."""

    lines: tuple[RatedLine, ...]
    total_nanos: int


def rate(
    price: PriceDocument, facts: RatingFacts, counted: PeriodCounts = NOTHING_COUNTED
) -> Rated:
    """Price what an image consumed, after what its period had consumed before it.

    Energy that the price does not charge for, because it was not measured, makes no line. A
    component whose units fall into several tiers makes a line for each.

    Raises:
        AmountOverflowError: the total is more than the ledger can hold.
        ModelNotPricedError: the price charges nothing for the model.
    """
    lines = tuple(
        line
        for kind, count in charged_counts(price, facts).items()
        for line in _priced_lines(
            price, _component(price, kind, facts.model), facts.tier, count=count, counted=counted
        )
    )
    total_nanos = sum(line.billed_cost_nanos for line in lines)
    return Rated(lines=lines, total_nanos=storable_nanos(total_nanos))


def charged_counts(price: PriceDocument, facts: RatingFacts) -> dict[Component, int]:
    """What an image is charged for, in whole numbers; what its period's counters go up by.

    Raises:
        ModelNotPricedError: the price charges nothing for the model.
    """
    consumed = _known(facts) | {
        Component.PER_GPU_SECOND: facts.gpu_microseconds,
        Component.PER_KWH: facts.energy_millijoules,
    }
    return {
        part.kind: consumed[part.kind]
        for part in price.components_for(facts.model)
        if part.kind is not Component.PER_KWH or _charges_energy(price, facts.energy_source)
    }


def ceiling_nanos(
    price: PriceDocument, ordered: OrderedImage, counted: PeriodCounts = NOTHING_COUNTED
) -> int:
    """Return the most that an image can cost within the price's bounds; what is held for it.

    Of tiers the dearest counts that can still be reached from what was ``counted``; who cannot tell
    whether the image will end in this period counts from nothing.

    Raises:
        AmountOverflowError: the ceiling is more than the ledger can hold.
        ModelNotPricedError: the price charges nothing for the model.
    """
    counts = _known(ordered) | _bounds(price, ordered)
    multiplier = price.multiplier_millionths(ordered.tier)
    return storable_nanos(
        sum(
            divide_up(
                counts[part.kind]
                * dearest_nanos(part, UNITS[part.kind].count, counted.of(price, part))
                * multiplier,
                UNITS[part.kind].count * MILLIONTHS,
            )
            for part in price.components_for(ordered.model)
        )
    )


def cap(rated: Rated, hold_nanos: int) -> Rated:
    """Take a price down to what was held for it, in a line of its own; the rest is written off."""
    excess_nanos = rated.total_nanos - hold_nanos
    if excess_nanos <= 0:
        return rated
    line = RatedLine(
        component=Component.CAP,
        consumed_quantity=Decimal(1),
        consumed_unit="image",
        list_unit_price_nanos=Decimal(-excess_nanos),
        billed_cost_nanos=-excess_nanos,
    )
    return Rated(lines=(*rated.lines, line), total_nanos=hold_nanos)


def _known(ordered: OrderedImage) -> dict[Component, int]:
    """What is known of an image before it is drawn, in whole numbers."""
    return {Component.PER_IMAGE: 1, Component.PER_MEGAPIXEL_STEP: ordered.pixel_steps}


def _bounds(price: PriceDocument, ordered: OrderedImage) -> dict[Component, int]:
    """What an image can consume at most, in the same whole numbers as what it did consume."""
    bound = price.bound_for(ordered.model)
    gpu_milliseconds = bound.gpu_milliseconds_fixed + divide_up(
        bound.gpu_milliseconds_per_megapixel_step * ordered.pixel_steps, _PIXELS_PER_MEGAPIXEL
    )
    millijoules = bound.energy_millijoules_fixed + divide_up(
        bound.energy_millijoules_per_megapixel_step * ordered.pixel_steps, _PIXELS_PER_MEGAPIXEL
    )
    return {
        Component.PER_GPU_SECOND: gpu_milliseconds * _MICROSECONDS_PER_MILLISECOND,
        Component.PER_KWH: millijoules,
    }


def _charges_energy(price: PriceDocument, source: EnergySource) -> bool:
    if source is EnergySource.ESTIMATED:
        return price.charge_estimated_energy
    return source in MEASURED_SOURCES


def _component(price: PriceDocument, kind: Component, model: str) -> PriceComponent:
    part = price.component_of(kind, model)
    assert part is not None, "only what has a price is counted"
    return part


def _priced_lines(
    price: PriceDocument,
    part: PriceComponent,
    tier: Tier,
    *,
    count: int,
    counted: PeriodCounts,
) -> list[RatedLine]:
    """One line for each tier; the component as a whole is rounded once."""
    unit, multiplier = UNITS[part.kind], price.multiplier_millionths(tier)
    lines: list[RatedLine] = []
    exact, rounded_nanos = 0, 0
    for portion in portions(part, unit.count, before=counted.of(price, part), count=count):
        # Exact until the one division: unit prices keep the multiplier's six decimals.
        exact += portion.count * portion.unit_price_nanos * multiplier
        through_nanos = divide_half_even(exact, unit.count * MILLIONTHS)
        lines.append(_line(part.kind, portion, multiplier, through_nanos - rounded_nanos))
        rounded_nanos = through_nanos
    return lines


def _line(
    kind: Component, portion: Portion, multiplier_millionths: int, billed_cost_nanos: int
) -> RatedLine:
    unit_price_millionths = portion.unit_price_nanos * multiplier_millionths
    return RatedLine(
        component=kind,
        consumed_quantity=UNITS[kind].quantity(portion.count),
        consumed_unit=UNITS[kind].name,
        list_unit_price_nanos=shortest(Decimal(unit_price_millionths).scaleb(-6)),
        billed_cost_nanos=billed_cost_nanos,
    )
