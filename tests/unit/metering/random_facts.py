"""Prices and facts from a seed, many and fast: for runs that Hypothesis would take hours for."""

import random

from metering.energy_source import EnergySource
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
from metering.rating import RatingFacts

MODELS = ["sd35-medium", "sd35-large"]
KINDS = [kind for kind in Component if kind is not Component.CAP]


def random_price(chance: random.Random) -> PriceDocument:
    own = [_component(chance, kind, MODELS[0]) for kind in KINDS if chance.random() < 1 / 3]
    return PriceDocument(
        currency="EUR",
        components=(*(_component(chance, kind, None) for kind in KINDS), *own),
        tier_multipliers=tuple(
            TierMultiplier(
                tier=tier, multiplier_millionths=chance.choice([0, 500_000, 10**6, 1_234_567])
            )
            for tier in Tier
        ),
        ceiling_bounds=(CeilingBound(gpu_milliseconds_fixed=1, energy_millijoules_fixed=1),),
        charge_estimated_energy=chance.random() < 1 / 2,
    )


def random_facts(chance: random.Random) -> RatingFacts:
    return RatingFacts(
        model=chance.choice(MODELS),
        tier=chance.choice(list(Tier)),
        width=16 * chance.randint(1, 128),
        height=16 * chance.randint(1, 128),
        num_inference_steps=chance.randint(1, 100),
        gpu_seconds=chance.choice([0.0, chance.random(), chance.random() * 10**4]),
        energy_millijoules=chance.choice([0, chance.randint(0, 100), chance.randint(0, 10**11)]),
        energy_source=chance.choice(list(EnergySource)),
    )


def random_counts(chance: random.Random) -> PeriodCounts:
    in_one = {Component.PER_IMAGE: 1, Component.PER_KWH: 3_600_000_000}
    return PeriodCounts(
        counts={
            (kind, model): chance.randint(0, 120) * in_one.get(kind, 10**6) + chance.randint(0, 1)
            for kind in KINDS
            for model in MODELS
            if chance.random() < 2 / 3
        }
    )


def _component(chance: random.Random, kind: Component, model: str | None) -> PriceComponent:
    ends = sorted(chance.sample(range(1, 200), chance.choice([0, 0, 1, 3])))
    return PriceComponent(
        kind=kind,
        model=model,
        unit_price_nanos=_unit_price(chance),
        tier_mode=chance.choice(list(TierMode)),
        lower_tiers=tuple(
            PriceTier(up_to_quantity=end, unit_price_nanos=_unit_price(chance)) for end in ends
        ),
    )


def _unit_price(chance: random.Random) -> int:
    return chance.choice([chance.randint(0, 20), chance.randint(0, 10**12)])
