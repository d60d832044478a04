"""Prices of images: written-out examples, and an independent oracle in exact fractions."""

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.energy_source import EnergySource
from metering.errors import AmountOverflowError, ModelNotPricedError, UsageInvalidError
from metering.period_counts import PeriodCounts
from metering.price_document import (
    CeilingBound,
    Component,
    PriceComponent,
    PriceDocument,
    PriceTier,
    Tier,
    TierMode,
    TierMultiplier,
)
from metering.rating import OrderedImage, RatedLine, RatingFacts, cap, ceiling_nanos, rate
from tests.unit.metering.oracle import oracle_nanos
from tests.unit.metering.strategies import COUNTS, FACTS, ORDERED, PRICES, facts_of

PRICE = PriceDocument(
    currency="EUR",
    components=(
        PriceComponent(kind=Component.PER_IMAGE, unit_price_nanos=2_000_000),
        PriceComponent(kind=Component.PER_MEGAPIXEL_STEP, unit_price_nanos=333_333),
        PriceComponent(kind=Component.PER_GPU_SECOND, unit_price_nanos=1_500_000),
        PriceComponent(kind=Component.PER_KWH, unit_price_nanos=250_000_000),
    ),
    tier_multipliers=(TierMultiplier(tier=Tier.BATCH, multiplier_millionths=500_000),),
    ceiling_bounds=(
        CeilingBound(
            gpu_milliseconds_fixed=500,
            gpu_milliseconds_per_megapixel_step=200,
            energy_millijoules_fixed=100_000,
            energy_millijoules_per_megapixel_step=140_000,
        ),
    ),
)


def facts(
    *,
    tier: Tier = Tier.BATCH,
    gpu_seconds: float = 5.25,
    energy_millijoules: int = 3_500_000,
    energy_source: EnergySource = EnergySource.NVML_COUNTER,
) -> RatingFacts:
    return RatingFacts(
        model="sd35-medium",
        tier=tier,
        width=1024,
        height=1024,
        num_inference_steps=28,
        gpu_seconds=gpu_seconds,
        energy_millijoules=energy_millijoules,
        energy_source=energy_source,
    )


def test_every_component_is_a_line_with_its_quantity_and_unit_price() -> None:
    rated = rate(PRICE, facts())

    assert rated.lines == (
        RatedLine(
            component=Component.PER_IMAGE,
            consumed_quantity=Decimal(1),
            consumed_unit="image",
            list_unit_price_nanos=Decimal(1_000_000),
            billed_cost_nanos=1_000_000,
        ),
        RatedLine(
            component=Component.PER_MEGAPIXEL_STEP,
            consumed_quantity=Decimal("29.360128"),
            consumed_unit="megapixel-step",
            list_unit_price_nanos=Decimal("166666.5"),
            billed_cost_nanos=4_893_350,
        ),
        RatedLine(
            component=Component.PER_GPU_SECOND,
            consumed_quantity=Decimal("5.25"),
            consumed_unit="second",
            list_unit_price_nanos=Decimal(750_000),
            billed_cost_nanos=3_937_500,
        ),
        RatedLine(
            component=Component.PER_KWH,
            consumed_quantity=Decimal("0.000972222222"),
            consumed_unit="kWh",
            list_unit_price_nanos=Decimal(125_000_000),
            billed_cost_nanos=121_528,
        ),
    )
    assert rated.total_nanos == 9_952_378


def test_a_tier_without_multiplier_costs_the_list_price() -> None:
    rated = rate(PRICE, facts(tier=Tier.INTERACTIVE))

    assert rated.lines[0].billed_cost_nanos == 2_000_000


@pytest.mark.parametrize(
    "source", [EnergySource.ESTIMATED, EnergySource.PARTIAL, EnergySource.NONE]
)
def test_energy_that_was_not_measured_is_not_charged(source: str) -> None:
    rated = rate(PRICE, facts(energy_source=EnergySource(source)))

    assert Component.PER_KWH not in {line.component for line in rated.lines}


def test_estimated_energy_is_charged_where_the_price_says_so() -> None:
    price = PriceDocument(
        currency="EUR",
        components=PRICE.components,
        ceiling_bounds=PRICE.ceiling_bounds,
        charge_estimated_energy=True,
    )

    estimated = rate(price, facts(energy_source=EnergySource.ESTIMATED))
    partial = rate(price, facts(energy_source=EnergySource.PARTIAL))

    assert estimated.lines[-1].billed_cost_nanos == 243_056
    assert Component.PER_KWH not in {line.component for line in partial.lines}


def test_a_models_own_price_takes_the_place_of_the_general_one() -> None:
    price = PriceDocument(
        currency="EUR",
        components=(
            PriceComponent(kind=Component.PER_IMAGE, unit_price_nanos=7),
            PriceComponent(kind=Component.PER_IMAGE, model="sd35-medium", unit_price_nanos=3),
        ),
    )

    assert rate(price, facts()).total_nanos == 3


@pytest.mark.parametrize(("unit_price_nanos", "expected_nanos"), [(1, 0), (3, 2), (5, 2), (7, 4)])
def test_a_half_is_rounded_to_the_even_nano(unit_price_nanos: int, expected_nanos: int) -> None:
    price = PriceDocument(
        currency="EUR",
        components=(PriceComponent(kind=Component.PER_IMAGE, unit_price_nanos=unit_price_nanos),),
        tier_multipliers=PRICE.tier_multipliers,
    )

    assert rate(price, facts()).total_nanos == expected_nanos


@given(price=PRICES, rated_facts=FACTS, counted=COUNTS)
def test_rating_agrees_with_exact_fractions(
    price: PriceDocument, rated_facts: RatingFacts, counted: PeriodCounts
) -> None:
    rated = rate(price, rated_facts, counted)

    costs: Counter[Component] = Counter()
    for line in rated.lines:
        costs[line.component] += line.billed_cost_nanos
    assert costs == oracle_nanos(price, rated_facts, counted)
    assert rated.total_nanos == sum(line.billed_cost_nanos for line in rated.lines)


@given(price=PRICES, rated_facts=FACTS, counted=COUNTS)
def test_quantity_times_unit_price_is_the_cost_within_its_rounding(
    price: PriceDocument, rated_facts: RatingFacts, counted: PeriodCounts
) -> None:
    lines = rate(price, rated_facts, counted).lines
    lines_of = Counter(line.component for line in lines)
    for line in lines:
        product = Fraction(line.consumed_quantity) * Fraction(line.list_unit_price_nanos)
        shown_error = Fraction(0)
        if line.component is Component.PER_KWH:
            # kWh are shown to twelve places.
            shown_error = Fraction(line.list_unit_price_nanos) / (2 * 10**12)
        # Where a component has a line for each tier, both of a line's ends are rounded.
        rounding = Fraction(1) if lines_of[line.component] > 1 else Fraction(1, 2)

        assert abs(product - line.billed_cost_nanos) <= rounding + shown_error


@given(data=st.data(), price=PRICES, ordered=ORDERED, counted=COUNTS)
def test_no_price_within_the_bounds_exceeds_its_ceiling(
    data: st.DataObject, price: PriceDocument, ordered: OrderedImage, counted: PeriodCounts
) -> None:
    within = data.draw(facts_of(ordered, price.bound_for(ordered.model)))

    assert rate(price, within, counted).total_nanos <= ceiling_nanos(price, ordered, counted)
    # What is counted only goes up until a new period begins; a ceiling from nothing holds for all.
    assert rate(price, within, counted).total_nanos <= ceiling_nanos(price, ordered)


GRADUATED = PriceDocument(
    currency="EUR",
    components=(
        PriceComponent(
            kind=Component.PER_MEGAPIXEL_STEP,
            lower_tiers=(
                PriceTier(up_to_quantity=10, unit_price_nanos=1_000),
                PriceTier(up_to_quantity=20, unit_price_nanos=600),
            ),
            unit_price_nanos=100,
        ),
    ),
)


def test_an_image_that_crosses_tiers_has_a_line_for_each() -> None:
    # 8.5 megapixel-steps were used; this one takes 29.360128: 1.5, 10 and the rest.
    counted = PeriodCounts(counts={(Component.PER_MEGAPIXEL_STEP, "sd35-medium"): 8_500_000})

    rated = rate(GRADUATED, facts(), counted)

    assert [
        (line.consumed_quantity, line.list_unit_price_nanos, line.billed_cost_nanos)
        for line in rated.lines
    ] == [
        (Decimal("1.5"), 1_000, 1_500),
        (Decimal(10), 600, 6_000),
        (Decimal("17.860128"), 100, 1_786),
    ]


def test_with_volume_tiers_an_image_has_the_price_of_its_last_unit() -> None:
    (part,) = GRADUATED.components
    volume = replace(GRADUATED, components=(replace(part, tier_mode=TierMode.VOLUME),))
    counted = PeriodCounts(counts={(Component.PER_MEGAPIXEL_STEP, "sd35-large"): 8_500_000})

    rated = rate(volume, facts(), counted)

    assert [(line.list_unit_price_nanos, line.billed_cost_nanos) for line in rated.lines] == [
        (100, 2_936)
    ]


def test_the_ceiling_takes_the_dearest_tier_that_can_still_be_reached() -> None:
    counted = PeriodCounts(counts={(Component.PER_MEGAPIXEL_STEP, "sd35-medium"): 10_000_000})

    assert ceiling_nanos(GRADUATED, facts()) == 29_361
    assert ceiling_nanos(GRADUATED, facts(), counted) == 17_617


def test_the_ceiling_takes_the_bounds_for_what_is_not_known_yet() -> None:
    ordered = OrderedImage(
        model="sd35-medium", tier=Tier.BATCH, width=1024, height=1024, num_inference_steps=28
    )

    # An image, 29.360128 megapixel-steps, 6.373 s and 4,210,418 mJ, each rounded up.
    assert ceiling_nanos(PRICE, ordered) == 1_000_000 + 4_893_350 + 4_779_750 + 146_196


@given(price=PRICES, rated_facts=FACTS, hold_nanos=st.integers(0, 10**13))
def test_a_capped_price_is_at_most_the_hold_and_its_lines_still_add_up(
    price: PriceDocument, rated_facts: RatingFacts, hold_nanos: int
) -> None:
    rated = rate(price, rated_facts)

    capped = cap(rated, hold_nanos)

    assert capped.total_nanos == min(rated.total_nanos, hold_nanos)
    assert sum(line.billed_cost_nanos for line in capped.lines) == capped.total_nanos


def test_a_model_without_a_price_is_not_given_away() -> None:
    price = PriceDocument(
        currency="EUR",
        components=(
            PriceComponent(kind=Component.PER_IMAGE, model="sd35-large", unit_price_nanos=3),
        ),
    )

    with pytest.raises(ModelNotPricedError):
        rate(price, facts())
    with pytest.raises(ModelNotPricedError):
        ceiling_nanos(price, facts())


@pytest.mark.parametrize("gpu_seconds", [-0.001, float("nan"), float("inf"), 1e10])
def test_gpu_time_that_cannot_be_is_refused(gpu_seconds: float) -> None:
    with pytest.raises(UsageInvalidError):
        facts(gpu_seconds=gpu_seconds)


@pytest.mark.parametrize("energy_millijoules", [-1, 2**63])
def test_energy_that_cannot_be_is_refused(energy_millijoules: int) -> None:
    with pytest.raises(UsageInvalidError):
        facts(energy_millijoules=energy_millijoules)


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(UsageInvalidError):
        OrderedImage(model="m", tier=Tier.BATCH, width=0, height=16, num_inference_steps=1)


def test_an_image_beyond_all_measure_is_refused() -> None:
    with pytest.raises(UsageInvalidError):
        OrderedImage(
            model="m", tier=Tier.BATCH, width=10**6, height=10**6, num_inference_steps=10**4
        )


def test_a_price_that_no_ledger_can_hold_is_refused() -> None:
    price = PriceDocument(
        currency="EUR",
        components=(PriceComponent(kind=Component.PER_MEGAPIXEL_STEP, unit_price_nanos=10**15),),
        tier_multipliers=(TierMultiplier(tier=Tier.BATCH, multiplier_millionths=10**8),),
    )

    large = OrderedImage(
        model="m", tier=Tier.BATCH, width=4096, height=4096, num_inference_steps=28
    )

    with pytest.raises(AmountOverflowError):
        ceiling_nanos(price, large)
