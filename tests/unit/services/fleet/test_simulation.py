"""The fleet's decisions over hours of a virtual clock; benchmarks/fairness.py does it large."""

from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st

from services.fleet.allocation import AllocationRules
from services.fleet.simulation import SimulatedFleet, SimulatedTenant, jain

RULES = AllocationRules(dwell_seconds_min=30.0, dwell_per_cold_start=3.0, devices_per_tenant_max=4)


def backlogged(count: int) -> list[SimulatedTenant]:
    return [
        SimulatedTenant(tenant_id=f"tenant-{number}", standing_backlog_seconds=100.0)
        for number in range(count)
    ]


@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    device_count=st.integers(1, 4),
    tenant_count=st.integers(2, 9),
)
def test_backlogged_tenants_share_fairly_nobody_starves_and_switches_are_bounded(
    seed: int, device_count: int, tenant_count: int
) -> None:
    greedy = SimulatedTenant(tenant_id="greedy", standing_backlog_seconds=1e7)
    visitor = SimulatedTenant(tenant_id="visitor", job_interval_seconds=600.0, job_seconds=20.0)
    equals = [greedy, *backlogged(tenant_count)]
    fleet = SimulatedFleet(
        tenants=[*equals, visitor],
        device_count=device_count,
        seed=seed,
        rules=RULES,
        tick_seconds=2.0,
    )

    fleet.run(2 * 3600.0)

    turn_seconds = 2 * fleet.dwell_seconds + 40.0
    turns_before_ones_own = ceil((len(equals) + 1) / device_count)
    # Beside them, every job of the visitor may move one worker.
    switches_max = device_count * fleet.now / fleet.dwell_seconds + fleet.now / 300.0
    assert jain([tenant.drawn_seconds for tenant in equals]) >= 0.95
    assert max(tenant.longest_wait_seconds for tenant in equals) <= (
        turns_before_ones_own * turn_seconds
    )
    assert fleet.takeover_count <= switches_max


def test_a_tenant_of_twice_the_weight_gets_twice_the_time() -> None:
    equals = backlogged(4)
    heavy = SimulatedTenant(tenant_id="heavy", standing_backlog_seconds=100.0, weight=2.0)
    fleet = SimulatedFleet(tenants=[*equals, heavy], device_count=1, seed=1, rules=RULES)

    fleet.run(4 * 3600.0)

    mean = sum(tenant.drawn_seconds for tenant in equals) / len(equals)
    assert 1.8 <= heavy.drawn_seconds / mean <= 2.2


def test_who_creates_and_cancels_is_stopped_and_the_neighbour_goes_on() -> None:
    neighbour = SimulatedTenant(tenant_id="acme", standing_backlog_seconds=100.0)
    canceller = SimulatedTenant(
        tenant_id="zeta", job_interval_seconds=60.0, job_seconds=500.0, cancels_after_seconds=300.0
    )
    fleet = SimulatedFleet(tenants=[neighbour, canceller], device_count=1, seed=1, rules=RULES)

    fleet.run(4 * 3600.0)

    assert canceller.restrained_seconds > 2 * 3600.0
    assert neighbour.drawn_seconds > 0.7 * 4 * 3600.0
