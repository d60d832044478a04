"""Prices and facts for Hypothesis: small enough to shrink well, wide enough to meet every edge."""

from hypothesis import strategies as st

from metering.energy_source import EnergySource
from metering.period_counts import PeriodCounts
from metering.price_document import (
    CeilingBound,
    Component,
    PriceComponent,
    PriceDocument,
    PriceTier,
    TaxRate,
    Tier,
    TierMode,
    TierMultiplier,
)
from metering.rating import OrderedImage, RatingFacts

MODELS = ["sd35-medium", "sd35-large"]
# From free to absurd, and the values at which rounding shows: odd, small, just off a power of ten.
UNIT_PRICES = st.one_of(st.integers(0, 20), st.integers(0, 10**12))
SIZES = st.integers(1, 128).map(lambda tiles: 16 * tiles)


def bounds_of(model: str | None) -> st.SearchStrategy[CeilingBound]:
    return st.builds(
        CeilingBound,
        model=st.just(model),
        gpu_milliseconds_fixed=st.integers(1, 10_000),
        gpu_milliseconds_per_megapixel_step=st.integers(0, 5_000),
        energy_millijoules_fixed=st.integers(1, 10**7),
        energy_millijoules_per_megapixel_step=st.integers(0, 10**6),
    )


TIERS = st.lists(
    st.tuples(st.integers(1, 200), UNIT_PRICES), max_size=3, unique_by=lambda tier: tier[0]
).map(
    lambda tiers: tuple(
        PriceTier(up_to_quantity=end, unit_price_nanos=unit_price)
        for end, unit_price in sorted(tiers)
    )
)


def components_of(model: str | None) -> st.SearchStrategy[list[PriceComponent]]:
    kinds = st.sets(st.sampled_from([kind for kind in Component if kind is not Component.CAP]))
    return kinds.flatmap(
        lambda chosen: st.tuples(
            *(
                st.builds(
                    PriceComponent,
                    kind=st.just(kind),
                    model=st.just(model),
                    unit_price_nanos=UNIT_PRICES,
                    tier_mode=st.sampled_from(TierMode),
                    lower_tiers=TIERS,
                )
                for kind in sorted(chosen)
            )
        ).map(list)
    )


MULTIPLIERS = st.lists(
    st.builds(
        TierMultiplier,
        tier=st.sampled_from(Tier),
        multiplier_millionths=st.one_of(
            st.sampled_from([0, 500_000, 1_000_000]), st.integers(0, 3 * 10**6)
        ),
    ),
    unique_by=lambda part: part.tier,
)
TAX_RATES = st.lists(
    st.builds(
        TaxRate,
        display_name=st.sampled_from(["VAT 19 %", "VAT 7 %", "Levy"]),
        rate_millionths=st.integers(0, 10**6),
    ),
    max_size=2,
    unique_by=lambda tax: tax.display_name,
)
PRICES = st.builds(
    PriceDocument,
    currency=st.sampled_from(["EUR", "JPY", "KWD"]),
    components=st.tuples(components_of(None), components_of(MODELS[0]))
    .map(lambda parts: tuple(parts[0] + parts[1]))
    # Every model has a price: one that has none is refused.
    .filter(lambda parts: any(part.model is None for part in parts)),
    tier_multipliers=MULTIPLIERS.map(tuple),
    tax_rates=TAX_RATES.map(tuple),
    ceiling_bounds=st.tuples(bounds_of(None), bounds_of(MODELS[0])),
    charge_estimated_energy=st.booleans(),
)
ORDERED = st.builds(
    OrderedImage,
    model=st.sampled_from(MODELS),
    tier=st.sampled_from(Tier),
    width=SIZES,
    height=SIZES,
    num_inference_steps=st.integers(1, 100),
)


@st.composite
def facts_of(draw: st.DrawFn, ordered: OrderedImage, bound: CeilingBound | None) -> RatingFacts:
    """What an ordered image consumed: anything, or anything within a bound."""
    gpu_seconds_max, millijoules_max = 1e6, 10**12
    if bound is not None:
        # Rounded down, so that these facts are within the bound whatever rating rounds up.
        megapixel_steps = ordered.pixel_steps / 1e6
        gpu_seconds_max = 1e-3 * int(
            bound.gpu_milliseconds_fixed
            + bound.gpu_milliseconds_per_megapixel_step * megapixel_steps
        )
        millijoules_max = int(
            bound.energy_millijoules_fixed
            + bound.energy_millijoules_per_megapixel_step * megapixel_steps
        )
    return RatingFacts(
        model=ordered.model,
        tier=ordered.tier,
        width=ordered.width,
        height=ordered.height,
        num_inference_steps=ordered.num_inference_steps,
        gpu_seconds=draw(st.floats(0, gpu_seconds_max, allow_subnormal=False)),
        energy_millijoules=draw(st.integers(0, millijoules_max)),
        energy_source=draw(st.sampled_from(EnergySource)),
    )


FACTS = ORDERED.flatmap(lambda ordered: facts_of(ordered, None))
# Around the ends of tiers, a little off them too.
COUNTS = st.dictionaries(
    st.tuples(
        st.sampled_from([kind for kind in Component if kind is not Component.CAP]),
        st.sampled_from(MODELS),
    ),
    st.integers(0, 120).flatmap(
        lambda units: st.sampled_from([units, units * 10**6 + 1, units * 3_600_000_000])
    ),
).map(lambda counts: PeriodCounts(counts=counts))
