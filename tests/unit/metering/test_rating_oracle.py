"""Rating against the oracle, on many facts: 2,000 each time, 100,000 in the long run."""

import random
from collections import Counter

import pytest

from metering.rating import rate
from tests.unit.metering.oracle import oracle_nanos
from tests.unit.metering.random_facts import random_counts, random_facts, random_price


@pytest.mark.parametrize(
    ("seed", "facts_count"), [(42, 2_000), pytest.param(8823714, 100_000, marks=pytest.mark.long)]
)
def test_rating_agrees_with_exact_fractions_on_many_facts(seed: int, facts_count: int) -> None:
    chance = random.Random(seed)
    several_tiers = 0
    prices = [random_price(chance) for _ in range(facts_count // 50)]

    for number in range(facts_count):
        price = chance.choice(prices)
        facts, counted = random_facts(chance), random_counts(chance)
        rated = rate(price, facts, counted)
        costs: Counter[str] = Counter()
        for line in rated.lines:
            costs[line.component] += line.billed_cost_nanos
        several_tiers += len(rated.lines) > len(costs)
        assert costs == oracle_nanos(price, facts, counted), (seed, number)
        assert rated.total_nanos == sum(costs.values())

    # The facts do cross the borders of tiers; without that the rest would prove little.
    assert several_tiers > facts_count / 20
