"""Budgets hold in the transaction that accepts, whatever they nest in, and tell of it once."""

import pytest
from psycopg import AsyncConnection

from metering.budgets import Budget, BudgetEnforcement, BudgetPeriod, list_budgets
from metering.errors import BudgetExceededError
from services.jobs.cancellation import cancel_job
from tests.integration.fixture_types import Become
from tests.integration.metering.shop import Shop, open_shop

# What the shop holds for an image in BATCH, and what it then charges.
HOLD_NANOS = 2_513_889
PRICE_NANOS = 750_312


@pytest.fixture
async def shop(connection: AsyncConnection, become: Become) -> Shop:
    return await open_shop(connection, become, tenant_id="acme-of-budgets")


async def budget_of(shop: Shop, budget_id: str = "all") -> Budget:
    await shop.as_role("atelier_gateway")
    (budget,) = await list_budgets(
        shop.connection, tenant_id=shop.tenant_id, budget_id=budget_id, limit=1
    )
    return budget


async def refused(shop: Shop, *, images: int = 1, project: str = "", key_id: str = "k1") -> str:
    with pytest.raises(BudgetExceededError) as error:
        async with shop.connection.transaction():
            await shop.accept(images=images, project=project, key_id=key_id)
    return error.value.budget_id


async def test_a_job_is_held_in_its_budgets_and_its_price_is_spent(shop: Shop) -> None:
    await shop.set_budget()
    await shop.accept(images=2)
    await shop.draw(await shop.claim())

    budget = await budget_of(shop)

    assert (budget.held_nanos, budget.spent_nanos) == (HOLD_NANOS, PRICE_NANOS)


async def test_what_failed_is_free_again(shop: Shop) -> None:
    await shop.set_budget(limit_nanos=HOLD_NANOS)
    await shop.fail()

    budget = await budget_of(shop)
    await shop.accept()

    assert (budget.held_nanos, budget.spent_nanos) == (0, 0)


async def test_a_hard_budget_refuses_what_it_does_not_cover_to_the_nano(shop: Shop) -> None:
    await shop.set_budget(limit_nanos=3 * HOLD_NANOS - 1)
    await shop.accept(images=2)

    assert await refused(shop) == "all"
    assert (await budget_of(shop)).held_nanos == 2 * HOLD_NANOS


async def test_the_narrowest_of_nested_budgets_decides(shop: Shop) -> None:
    await shop.set_budget("tenant", limit_nanos=5 * HOLD_NANOS)
    await shop.set_budget("project", project="spring", limit_nanos=3 * HOLD_NANOS)
    await shop.set_budget("the-key", key_id="k1", limit_nanos=2 * HOLD_NANOS)
    await shop.accept(images=2, project="spring")

    assert await refused(shop, project="spring", key_id="k1") == "the-key"
    assert await refused(shop, images=2, project="spring", key_id="k2") == "project"
    assert await refused(shop, images=4, project="other", key_id="k2") == "tenant"
    await shop.accept(images=3, project="other", key_id="k2")
    # What one budget refused has left no trace in the others.
    assert (await budget_of(shop, "tenant")).held_nanos == 5 * HOLD_NANOS
    assert (await budget_of(shop, "project")).held_nanos == 2 * HOLD_NANOS


async def test_a_soft_budget_refuses_nothing_and_alerts(shop: Shop) -> None:
    await shop.set_budget(limit_nanos=HOLD_NANOS, enforcement=BudgetEnforcement.SOFT)

    await shop.accept(images=3)

    budget = await budget_of(shop)
    assert budget.held_nanos == 3 * HOLD_NANOS
    assert [alert.percent for alert in budget.alerts] == [50, 80, 100]


async def test_each_share_is_told_once_and_by_the_job_that_reached_it(shop: Shop) -> None:
    await shop.set_budget(limit_nanos=10 * HOLD_NANOS)
    await shop.accept(images=4)
    assert (await budget_of(shop)).alerts == ()

    await shop.accept()
    for _ in range(5):
        await shop.draw(await shop.claim())
    await shop.accept(images=3)
    (alert,) = (await budget_of(shop)).alerts

    assert (alert.percent, alert.used_nanos) == (50, 5 * HOLD_NANOS)


async def test_a_limit_below_what_is_used_keeps_what_runs_and_refuses_the_next(shop: Shop) -> None:
    await shop.set_budget()
    await shop.accept(images=2)

    await shop.set_budget(limit_nanos=HOLD_NANOS)
    await shop.draw(await shop.claim())

    assert await refused(shop) == "all"
    # The rest of the first image is free again, and the second's hold is still above the limit.
    assert (await budget_of(shop)).spent_nanos == PRICE_NANOS


async def test_a_lowered_limit_is_not_filled_up_again_to_what_was_used_above_it(
    shop: Shop,
) -> None:
    await shop.set_budget()
    job_id = await shop.accept(images=2)
    await shop.set_budget(limit_nanos=HOLD_NANOS)
    await shop.as_role("atelier_gateway")
    await cancel_job(shop.connection, job_id)

    assert await refused(shop, images=2) == "all"
    await shop.accept()


async def test_a_new_day_begins_at_the_tenants_midnight_with_an_empty_counter(shop: Shop) -> None:
    await shop.set_budget(limit_nanos=HOLD_NANOS, period=BudgetPeriod.DAY)
    await shop.accept()
    claimed = await shop.claim()
    await shop.as_role(None)
    row = await (
        await shop.connection.execute(
            "SELECT period_start AT TIME ZONE 'Europe/Berlin', period_end - period_start"
            " FROM budget_periods WHERE tenant_id = %s",
            [shop.tenant_id],
        )
    ).fetchone()
    assert row is not None
    assert (row[0].hour, row[0].minute) == (0, 0)
    await shop.without_guards(
        "UPDATE job_budgets SET period_start = period_start - interval '1 day'"
        " WHERE tenant_id = %s",
        shop.tenant_id,
    )
    await shop.without_guards(
        "UPDATE budget_periods SET period_start = period_start - interval '1 day',"
        " period_end = period_end - interval '1 day' WHERE tenant_id = %s",
        shop.tenant_id,
    )

    await shop.accept()
    await shop.draw(claimed)

    # Yesterday's image was charged today and counts in yesterday's budget.
    budget = await budget_of(shop)
    assert (budget.held_nanos, budget.spent_nanos) == (HOLD_NANOS, 0)


async def test_a_budget_for_good_never_begins_anew(shop: Shop) -> None:
    await shop.set_budget(limit_nanos=HOLD_NANOS, period=BudgetPeriod.TOTAL)
    await shop.sell()

    assert await refused(shop) == "all"


async def test_a_budget_of_zero_lets_only_what_is_free_pass(shop: Shop) -> None:
    await shop.set_budget(limit_nanos=0)

    assert await refused(shop) == "all"


async def move_to_the_months_first_day(shop: Shop) -> None:
    """Let what counted today have counted on the month's first day."""
    await shop.without_guards(
        "UPDATE job_budgets SET period_start = budget_period_start('MONTH', %s, now())"
        " WHERE tenant_id = %s",
        shop.tenant.time_zone,
        shop.tenant_id,
    )
    await shop.without_guards(
        "UPDATE budget_periods"
        " SET period_start = budget_period_start('MONTH', %s, now()),"
        " period_end = budget_period_start('MONTH', %s, now()) + interval '1 day'"
        " WHERE tenant_id = %s",
        shop.tenant.time_zone,
        shop.tenant.time_zone,
        shop.tenant_id,
    )


async def test_a_month_that_begins_where_a_day_began_has_its_own_limit(shop: Shop) -> None:
    await shop.set_budget(limit_nanos=10 * HOLD_NANOS, period=BudgetPeriod.DAY)
    await shop.accept()
    await move_to_the_months_first_day(shop)

    await shop.set_budget(limit_nanos=2 * HOLD_NANOS, period=BudgetPeriod.MONTH)
    await shop.accept()

    assert await refused(shop) == "all"
    assert (await budget_of(shop)).held_nanos == 2 * HOLD_NANOS
    await shop.as_role(None)
    cursor = await shop.connection.execute(
        "SELECT period_end = budget_period_end('MONTH', %s, now()) FROM budget_periods"
        " WHERE tenant_id = %s",
        [shop.tenant.time_zone, shop.tenant_id],
    )
    assert await cursor.fetchall() == [(True,)]


async def test_a_hard_month_guards_what_a_soft_day_had_counted(shop: Shop) -> None:
    await shop.set_budget(
        limit_nanos=HOLD_NANOS, period=BudgetPeriod.DAY, enforcement=BudgetEnforcement.SOFT
    )
    await shop.accept(images=3)
    await move_to_the_months_first_day(shop)

    await shop.set_budget(limit_nanos=2 * HOLD_NANOS, period=BudgetPeriod.MONTH)

    assert await refused(shop) == "all"
    assert (await budget_of(shop)).held_nanos == 3 * HOLD_NANOS


async def test_a_soft_budget_that_becomes_hard_refuses_at_once(shop: Shop) -> None:
    await shop.set_budget(limit_nanos=HOLD_NANOS, enforcement=BudgetEnforcement.SOFT)
    await shop.accept(images=2)

    await shop.set_budget(limit_nanos=HOLD_NANOS)

    assert await refused(shop) == "all"
