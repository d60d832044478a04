"""A budget or its tenant's clock changes: what was counted stays counted, once, and is told."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from metering.budgets import (
    BUDGETS_MAX,
    Budget,
    BudgetEnforcement,
    BudgetPeriod,
    list_budgets,
)
from metering.clock_moves import move_clock
from metering.errors import BudgetExceededError, BudgetLimitError
from metering.invariants import check_invariants
from tenants.tenant_store import lock_tenant, update_tenant
from tests.integration.fixture_types import Become, Postgres
from tests.integration.metering.shop import Shop, open_shop
from tests.integration.metering.waiting import until_blocked

# What the shop holds for an image in BATCH, and what it then charges.
HOLD_NANOS = 2_513_889
PRICE_NANOS = 750_312
# On these two it is never the same day.
FARTHEST_WEST, FARTHEST_EAST = "Etc/GMT+12", "Pacific/Kiritimati"


@pytest.fixture
async def shop(connection: AsyncConnection, become: Become) -> Shop:
    return await open_shop(connection, become, tenant_id="acme-of-changes", time_zone=FARTHEST_WEST)


async def budget_of(shop: Shop) -> Budget:
    """The budget as it stands; whatever happened to it, its sums are those of its jobs."""
    await shop.as_role("atelier_operator")
    counts = await check_invariants(shop.connection, tenant_id=shop.tenant_id)
    assert {name: count for name, count in counts.items() if count} == {}
    await shop.as_role("atelier_gateway")
    (budget,) = await list_budgets(
        shop.connection, tenant_id=shop.tenant_id, budget_id="all", limit=1
    )
    return budget


async def is_refused(shop: Shop) -> bool:
    """Whether one more image would be; what is accepted to see that is undone."""
    try:
        async with shop.connection.transaction(force_rollback=True):
            await shop.accept()
    except BudgetExceededError:
        return True
    return False


async def move_back(shop: Shop, *, days: int) -> None:
    """Let everything that was accepted have been accepted days before."""
    await shop.without_guards(
        "UPDATE jobs SET create_time = create_time - make_interval(days => %s)"
        " WHERE tenant_id = %s",
        days,
        shop.tenant_id,
    )
    await shop.without_guards(
        "UPDATE job_budgets SET period_start = period_start - make_interval(days => %s)"
        " WHERE tenant_id = %s",
        days,
        shop.tenant_id,
    )
    await shop.without_guards(
        "UPDATE budget_periods SET period_start = period_start - make_interval(days => %s),"
        " period_end = period_end - make_interval(days => %s) WHERE tenant_id = %s",
        days,
        days,
        shop.tenant_id,
    )


async def move_to_clock(shop: Shop, time_zone: str) -> None:
    """Change the tenant's clock as the operator does."""
    await shop.as_role("atelier_operator")
    old = await lock_tenant(shop.connection, shop.tenant_id)
    assert old is not None
    new = await update_tenant(shop.connection, replace(old, time_zone=time_zone))
    await move_clock(shop.connection, old, new)


async def same_day_zones(shop: Shop) -> tuple[str, str]:
    """Two clocks an hour apart on which it is the same day."""
    cursor = await shop.connection.execute("SELECT extract(hour FROM now() AT TIME ZONE 'UTC')")
    (hour,) = await cursor.fetchone() or (0,)
    return ("Etc/UTC", "Etc/GMT-1") if hour < 23 else ("Etc/GMT+1", "Etc/UTC")


async def test_a_longer_period_counts_what_was_used_since_it_began(shop: Shop) -> None:
    await shop.set_budget(period=BudgetPeriod.DAY)
    await shop.accept(images=2)
    await shop.draw(await shop.claim())
    await move_back(shop, days=5)
    await shop.accept()

    await shop.set_budget(period=BudgetPeriod.TOTAL, limit_nanos=3 * HOLD_NANOS)

    budget = await budget_of(shop)
    assert (budget.held_nanos, budget.spent_nanos) == (2 * HOLD_NANOS, PRICE_NANOS)
    assert await is_refused(shop)
    # What ran in a day's counter ends in the new one.
    await shop.draw(await shop.claim())
    assert (await budget_of(shop)).spent_nanos == 2 * PRICE_NANOS


async def test_a_shorter_period_counts_its_own_jobs_alone(shop: Shop) -> None:
    await shop.set_budget(period=BudgetPeriod.TOTAL)
    await shop.sell(images=2)
    await shop.without_guards(
        "UPDATE jobs SET create_time = create_time - interval '5 days' WHERE tenant_id = %s",
        shop.tenant_id,
    )
    await shop.accept()

    await shop.set_budget(period=BudgetPeriod.DAY, limit_nanos=2 * HOLD_NANOS)

    budget = await budget_of(shop)
    assert (budget.held_nanos, budget.spent_nanos) == (HOLD_NANOS, 0)
    await shop.accept()
    assert await is_refused(shop)


async def test_a_period_that_comes_back_has_counted_all_the_while(shop: Shop) -> None:
    await shop.set_budget(period=BudgetPeriod.DAY)
    await shop.accept()
    await shop.set_budget(period=BudgetPeriod.MONTH)
    await shop.accept()

    await shop.set_budget(period=BudgetPeriod.DAY, limit_nanos=2 * HOLD_NANOS)

    assert (await budget_of(shop)).held_nanos == 2 * HOLD_NANOS
    assert await is_refused(shop)


@pytest.mark.parametrize("enforcement", list(BudgetEnforcement))
async def test_a_limit_below_what_is_used_is_told_at_once(
    shop: Shop, enforcement: BudgetEnforcement
) -> None:
    await shop.set_budget(enforcement=enforcement)
    await shop.accept(images=2)
    before = await budget_of(shop)

    after = await shop.set_budget(enforcement=enforcement, limit_nanos=HOLD_NANOS)

    assert before.alerts == ()
    assert [(alert.percent, alert.used_nanos) for alert in after.alerts] == [
        (50, 2 * HOLD_NANOS),
        (80, 2 * HOLD_NANOS),
        (100, 2 * HOLD_NANOS),
    ]


async def test_a_limit_of_nothing_of_which_nothing_is_used_is_not_told(shop: Shop) -> None:
    await shop.set_budget()
    await shop.fail()

    assert (await shop.set_budget(limit_nanos=0)).alerts == ()


async def test_another_clock_gives_no_budget_twice(shop: Shop) -> None:
    here, there = await same_day_zones(shop)
    await move_to_clock(shop, here)
    await shop.set_budget(period=BudgetPeriod.DAY, limit_nanos=HOLD_NANOS)
    await shop.accept()

    for time_zone in (there, here, there):
        await move_to_clock(shop, time_zone)
        assert await is_refused(shop)

    assert (await budget_of(shop)).held_nanos == HOLD_NANOS
    await shop.as_role(None)
    cursor = await shop.connection.execute(
        "SELECT period_end = budget_period_end('DAY', %s, now()) FROM budget_periods"
        " WHERE tenant_id = %s",
        [there, shop.tenant_id],
    )
    assert await cursor.fetchall() == [(True,)]


async def test_a_day_that_begins_sooner_on_another_clock_begins_once(shop: Shop) -> None:
    await shop.set_budget(period=BudgetPeriod.DAY, limit_nanos=HOLD_NANOS)
    await shop.accept()

    await move_to_clock(shop, FARTHEST_EAST)
    is_refused_tomorrow = await is_refused(shop)
    await shop.accept()
    refusals: list[bool] = []
    for time_zone in (FARTHEST_WEST, FARTHEST_EAST, FARTHEST_WEST):
        await move_to_clock(shop, time_zone)
        refusals.append(await is_refused(shop))

    assert not is_refused_tomorrow
    assert refusals == [True, True, True]


async def test_tiers_go_on_from_what_the_month_counted_on_another_clock(shop: Shop) -> None:
    here, there = await same_day_zones(shop)
    await move_to_clock(shop, here)
    await shop.sell(images=2)

    await move_to_clock(shop, there)
    await shop.sell()

    await shop.as_role(None)
    cursor = await shop.connection.execute(
        "SELECT period_start = budget_period_start('MONTH', %s, now()), quantity"
        " FROM period_quantities WHERE tenant_id = %s AND component = 'PER_IMAGE'",
        [there, shop.tenant_id],
    )
    assert await cursor.fetchall() == [(True, 3)]
    assert (await check_invariants(shop.connection, tenant_id=shop.tenant_id))[
        "period_quantities_differ"
    ] == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoAtOnce:
    """A committed shop, and the same tenant over two more connections."""

    shop: Shop
    first: Shop
    second: Shop


@asynccontextmanager
async def two_at_once(
    postgres: Postgres, become: Become, tenant_id: str
) -> AsyncGenerator[TwoAtOnce]:
    connect = AsyncConnection[TupleRow].connect
    async with (
        await connect(postgres.admin_url) as selling,
        await connect(postgres.admin_url) as first,
        await connect(postgres.admin_url) as second,
    ):
        shop = await open_shop(selling, become, tenant_id=tenant_id)
        await shop.set_budget(period=BudgetPeriod.DAY)
        await shop.accept()
        await selling.commit()
        yield TwoAtOnce(
            shop=shop,
            first=replace(shop, connection=first),
            second=replace(shop, connection=second),
        )
        await selling.rollback()


async def test_a_limit_counts_what_an_acceptance_of_that_moment_holds(
    postgres: Postgres, become: Become, fresh_tenant_id: str
) -> None:
    async with two_at_once(postgres, become, fresh_tenant_id) as both:
        await both.first.accept(images=2)
        setting = asyncio.create_task(
            both.second.set_budget(period=BudgetPeriod.TOTAL, limit_nanos=2 * HOLD_NANOS)
        )
        await until_blocked(both.shop.connection, both.second.connection)
        await both.first.connection.commit()
        made = await setting
        await both.second.connection.commit()

        assert made.held_nanos == 3 * HOLD_NANOS
        assert await is_refused(both.shop)


async def test_a_period_that_changes_counts_what_a_capture_of_that_moment_spends(
    postgres: Postgres, become: Become, fresh_tenant_id: str
) -> None:
    async with two_at_once(postgres, become, fresh_tenant_id) as both:
        await both.first.draw(await both.first.claim())
        setting = asyncio.create_task(both.second.set_budget(period=BudgetPeriod.TOTAL))
        await until_blocked(both.shop.connection, both.second.connection)
        await both.first.connection.commit()
        made = await setting
        await both.second.connection.commit()

        assert (made.held_nanos, made.spent_nanos) == (0, PRICE_NANOS)
        assert (await budget_of(both.shop)).spent_nanos == PRICE_NANOS


async def test_two_budgets_made_at_once_do_not_exceed_how_many_there_may_be(
    postgres: Postgres, become: Become, fresh_tenant_id: str
) -> None:
    async with two_at_once(postgres, become, fresh_tenant_id) as both:
        await both.shop.as_role(None)
        await both.shop.connection.execute(
            "INSERT INTO budgets (tenant_id, budget_id, period, enforcement, limit_nanos, currency)"
            " SELECT %s, 'b' || number, 'DAY', 'SOFT', 1, 'EUR'"
            " FROM generate_series(1, %s) AS number",
            [fresh_tenant_id, BUDGETS_MAX - 2],
        )
        await both.shop.connection.commit()

        await both.first.set_budget("last")
        setting = asyncio.create_task(both.second.set_budget("one-more"))
        await until_blocked(both.shop.connection, both.second.connection)
        await both.first.connection.commit()
        with pytest.raises(BudgetLimitError):
            await setting
