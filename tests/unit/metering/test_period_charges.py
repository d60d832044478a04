"""What a period's end adds: volume tiers settled, discounts, the minimum; to the nano."""

from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from metering.parked_energy import ParkedEnergy
from metering.period_charges import (
    DiscountCharge,
    VolumeSettlement,
    period_charges,
    volume_settlements,
)
from metering.period_counts import NOTHING_COUNTED, PeriodCounts
from metering.price_document import (
    CeilingBound,
    Component,
    Discount,
    PriceComponent,
    PriceDocument,
    PriceTier,
    Tier,
    TierMode,
    TierMultiplier,
)
from metering.rating import RatingFacts, cap, charged_counts, rate
from tests.unit.metering.strategies import FACTS

VOLUME = PriceDocument(
    currency="EUR",
    components=(
        PriceComponent(
            kind=Component.PER_IMAGE,
            tier_mode=TierMode.VOLUME,
            lower_tiers=(PriceTier(up_to_quantity=2, unit_price_nanos=1_000),),
            unit_price_nanos=601,
        ),
    ),
    tier_multipliers=(TierMultiplier(tier=Tier.BATCH, multiplier_millionths=500_000),),
)
GPU_VOLUME = PriceDocument(
    currency="EUR",
    components=(
        PriceComponent(kind=Component.PER_IMAGE, unit_price_nanos=40),
        PriceComponent(
            kind=Component.PER_GPU_SECOND,
            tier_mode=TierMode.VOLUME,
            lower_tiers=(PriceTier(up_to_quantity=100, unit_price_nanos=2_000),),
            unit_price_nanos=500,
        ),
        PriceComponent(
            kind=Component.PER_MEGAPIXEL_STEP,
            tier_mode=TierMode.VOLUME,
            lower_tiers=(PriceTier(up_to_quantity=50, unit_price_nanos=3),),
            unit_price_nanos=7,
        ),
    ),
    ceiling_bounds=(CeilingBound(gpu_milliseconds_fixed=3_000),),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Charged:
    component: Component
    model: str
    tier: Tier
    consumed_quantity: Decimal
    billed_cost_nanos: int


def discounted(*discounts: tuple[int, int], minimum_nanos: int = 0) -> PriceDocument:
    return PriceDocument(
        currency="EUR",
        components=VOLUME.components,
        minimum_per_period_nanos=minimum_nanos,
        discounts=tuple(
            Discount(display_name=f"d{n}", rate_millionths=rate, threshold_nanos=threshold)
            for n, (rate, threshold) in enumerate(discounts)
        ),
    )


def test_volume_tiers_give_back_what_the_first_units_cost_more() -> None:
    charged = Charged(
        component=Component.PER_IMAGE,
        model="m",
        tier=Tier.BATCH,
        consumed_quantity=Decimal(3),
        # Two at 500, the third at half of 601, rounded to even.
        billed_cost_nanos=1_300,
    )
    counted = PeriodCounts(counts={(Component.PER_IMAGE, "m"): 3})

    # All three at 300.5 are 901.5, to the even nano.
    assert volume_settlements(VOLUME, [charged], counted) == (
        VolumeSettlement(
            component=Component.PER_IMAGE, model="m", tier=Tier.BATCH, amount_nanos=902 - 1_300
        ),
    )


def gpu_time(seconds: int, cost_nanos: int) -> Charged:
    return Charged(
        component=Component.PER_GPU_SECOND,
        model="m",
        tier=Tier.INTERACTIVE,
        consumed_quantity=Decimal(seconds),
        billed_cost_nanos=cost_nanos,
    )


def kept_to_hold(image_count: int, cost_nanos: int) -> Charged:
    return Charged(
        component=Component.CAP,
        model="m",
        tier=Tier.INTERACTIVE,
        consumed_quantity=Decimal(image_count),
        billed_cost_nanos=cost_nanos,
    )


def test_what_a_hold_kept_off_is_not_given_back_again() -> None:
    # Ten images of 10 s at 2,000, each kept to 6,000; the last, of 1 s, reaches the tier of 500.
    charged = [gpu_time(100, 200_000), gpu_time(1, 500), kept_to_hold(10, -140_000)]
    counted = PeriodCounts(counts={(Component.PER_GPU_SECOND, "m"): 101 * 10**6})

    (settled,) = volume_settlements(GPU_VOLUME, charged, counted)

    # 60,500 were captured; 101 s at 500 are 50,500.
    assert settled.amount_nanos == -10_000


def test_what_was_kept_off_beyond_the_refund_is_never_charged_after_all() -> None:
    charged = [gpu_time(100, 200_000), gpu_time(1, 500), kept_to_hold(10, -190_000)]
    counted = PeriodCounts(counts={(Component.PER_GPU_SECOND, "m"): 101 * 10**6})

    assert volume_settlements(GPU_VOLUME, charged, counted) == ()


def test_nothing_is_settled_where_no_volume_tier_was_left() -> None:
    charged = Charged(
        component=Component.PER_IMAGE,
        model="m",
        tier=Tier.BATCH,
        consumed_quantity=Decimal(1),
        billed_cost_nanos=500,
    )
    counted = PeriodCounts(counts={(Component.PER_IMAGE, "m"): 1})

    assert volume_settlements(VOLUME, [charged], counted) == ()


@given(st.lists(FACTS, min_size=1, max_size=12))
def test_settled_volume_tiers_cost_what_all_units_cost_at_the_last_ones_price(
    facts: list[RatingFacts],
) -> None:
    charged: list[Charged] = []
    counted = NOTHING_COUNTED
    for image in facts:
        (line,) = rate(VOLUME, image, counted).lines
        counted = counted.after(image.model, charged_counts(VOLUME, image))
        charged.append(
            Charged(
                component=line.component,
                model=image.model,
                tier=image.tier,
                consumed_quantity=line.consumed_quantity,
                billed_cost_nanos=line.billed_cost_nanos,
            )
        )

    settled = volume_settlements(VOLUME, charged, counted)

    last_price = 1_000 if len(facts) <= 2 else 601
    groups = {(image.model, image.tier) for image in facts}
    expected = 0
    for model, tier in groups:
        count = sum((image.model, image.tier) == (model, tier) for image in facts)
        expected += round(Decimal(count * last_price) / (2 if tier is Tier.BATCH else 1))
    charged_nanos = sum(line.billed_cost_nanos for line in charged)
    assert charged_nanos + sum(part.amount_nanos for part in settled) == expected


@given(st.lists(st.tuples(FACTS, st.integers(0, 10**6)), min_size=1, max_size=12))
def test_a_refund_leaves_what_is_owed_or_what_was_captured_whichever_is_less(
    images: list[tuple[RatingFacts, int]],
) -> None:
    charged: list[Charged] = []
    counted = NOTHING_COUNTED
    for image, hold_nanos in images:
        rated = cap(rate(GPU_VOLUME, image, counted), hold_nanos)
        counted = counted.after(image.model, charged_counts(GPU_VOLUME, image))
        charged += [
            Charged(
                component=line.component,
                model=image.model,
                tier=image.tier,
                consumed_quantity=line.consumed_quantity,
                billed_cost_nanos=line.billed_cost_nanos,
            )
            for line in rated.lines
        ]
    uncapped = [line for line in charged if line.component is not Component.CAP]

    settled = volume_settlements(GPU_VOLUME, charged, counted)
    list_settled = volume_settlements(GPU_VOLUME, uncapped, counted)

    for group in {(line.model, line.tier) for line in charged}:
        captured_nanos = cost_of(charged, group)
        net_nanos = captured_nanos + settled_of(settled, group)
        owed_nanos = cost_of(uncapped, group) + settled_of(list_settled, group)
        if owed_nanos <= cost_of(uncapped, group):
            assert 0 <= net_nanos == min(owed_nanos, captured_nanos)
        else:
            assert net_nanos - captured_nanos == settled_of(list_settled, group)


def cost_of(charged: list[Charged], group: tuple[str, Tier]) -> int:
    return sum(line.billed_cost_nanos for line in charged if (line.model, line.tier) == group)


def settled_of(settled: tuple[VolumeSettlement, ...], group: tuple[str, Tier]) -> int:
    return sum(part.amount_nanos for part in settled if (part.model, part.tier) == group)


def test_a_discount_counts_above_its_threshold_and_the_minimum_after_it() -> None:
    charges = period_charges(discounted((100_000, 4_000), minimum_nanos=10_000), 9_000)

    assert charges.discounts == (DiscountCharge(display_name="d0", amount_nanos=-500),)
    assert charges.minimum_shortfall_nanos == 1_500
    assert charges.net_nanos == 10_000


def test_waiting_workers_energy_is_not_discounted_and_counts_towards_the_minimum() -> None:
    price = replace(discounted((100_000, 0), minimum_nanos=10_000), parked_kwh_price_nanos=4_000)
    # Half a kWh.
    parked = ParkedEnergy(measured_millijoules=1_800_000_000)

    charges = period_charges(price, 1_000, parked=parked)

    assert [discount.amount_nanos for discount in charges.discounts] == [-100]
    assert charges.parked_nanos == 2_000
    assert charges.minimum_shortfall_nanos == 10_000 - 900 - 2_000
    assert charges.net_nanos == 10_000


@given(millijoules=st.integers(0, 10**13), unit_price_nanos=st.integers(0, 10**13))
def test_waiting_costs_the_exact_product_rounded_once_half_to_even(
    millijoules: int, unit_price_nanos: int
) -> None:
    price = replace(discounted(), parked_kwh_price_nanos=unit_price_nanos)
    exact = Fraction(millijoules * unit_price_nanos, 3_600_000_000)

    charges = period_charges(price, 0, parked=ParkedEnergy(measured_millijoules=millijoules))

    assert charges.parked_nanos == round(exact)


def test_every_discount_is_of_the_same_total() -> None:
    charges = period_charges(discounted((100_000, 0), (200_000, 0)), 1_000)

    assert [discount.amount_nanos for discount in charges.discounts] == [-100, -200]


@given(
    subtotal_nanos=st.integers(-(10**12), 10**12),
    discounts=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**12)), max_size=4),
    minimum_nanos=st.integers(0, 10**12),
)
@example(subtotal_nanos=-5, discounts=[], minimum_nanos=0)
def test_discounts_never_give_more_than_the_total_and_a_minimum_is_always_reached(
    subtotal_nanos: int, discounts: list[tuple[int, int]], minimum_nanos: int
) -> None:
    charges = period_charges(discounted(*discounts, minimum_nanos=minimum_nanos), subtotal_nanos)

    taken_off = -sum(discount.amount_nanos for discount in charges.discounts)
    assert 0 <= taken_off <= max(0, subtotal_nanos)
    if minimum_nanos:
        assert charges.net_nanos >= minimum_nanos
    else:
        assert charges.minimum_shortfall_nanos == 0
