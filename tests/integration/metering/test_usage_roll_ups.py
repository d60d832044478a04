"""Roll-ups change how fast a report answers and never what it says."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from metering.energy_source import EnergySource
from metering.usage_records import UsageOutcome
from metering.usage_reports import (
    UsageDimension,
    UsageFilter,
    UsageReport,
    UsageSum,
    query_usage,
)
from metering.usage_roll_ups import TenantClock, get_clock, roll_up, roll_up_anew, wrong_clocks
from services.gateway.page_tokens import Position
from services.gateway.usage_pages import place_of, with_places
from tests.integration.fixture_types import Become, Postgres
from tests.integration.metering.shop import Shop, open_shop
from tests.integration.metering.waiting import until_blocked

GROUPINGS: Final = (
    (),
    (UsageDimension.DAY,),
    (UsageDimension.MODEL, UsageDimension.SIZE),
    (UsageDimension.KEY, UsageDimension.PROJECT, UsageDimension.OUTCOME),
    (UsageDimension.LABEL,),
    (UsageDimension.LABEL, UsageDimension.DAY, UsageDimension.PROJECT),
    (UsageDimension.JOB,),
)
FILTERS: Final = (
    UsageFilter(),
    UsageFilter(project="spring"),
    UsageFilter(outcomes=(UsageOutcome.FAILED,)),
    # Its ends lie within days that have usage.
    UsageFilter(
        start_time=datetime(2026, 11, 1, 12, tzinfo=UTC),
        end_time=datetime(2026, 11, 3, 11, 30, tzinfo=UTC),
    ),
    UsageFilter(start_time=datetime(2026, 11, 2, 22, 59, tzinfo=UTC)),
    # A whole month, and days before and after it.
    UsageFilter(
        start_time=datetime(2026, 9, 20, 3, tzinfo=UTC),
        end_time=datetime(2026, 12, 20, 3, tzinfo=UTC),
    ),
    UsageFilter(end_time=datetime(2026, 11, 2, 22, 59, tzinfo=UTC)),
)


@pytest.fixture
async def shop(connection: AsyncConnection, become: Become) -> Shop:
    """Two labelled jobs and one without, one failure, over three days and their edges."""
    shop = await open_shop(connection, become, tenant_id="acme-of-roll-ups")
    for day, labels in ((1, {"campaign": "mugs", "sku": "a"}), (2, {"campaign": "vases"}), (3, {})):
        job_id = await shop.accept(images=2, project="spring" if day < 3 else "", labels=labels)
        await shop.draw(await shop.claim(), energy_source=EnergySource.NVML_COUNTER)
        await shop.draw(await shop.claim(), gpu_seconds=0.1 * day)
        await shop.move_charges(job_id, datetime(2026, 11, day, 11, 45, tzinfo=UTC))
    october = await shop.sell(project="spring")
    await shop.move_charges(october, datetime(2026, 10, 31, 22, 59, tzinfo=UTC))
    failed = await shop.fail()
    await shop.without_guards(
        "UPDATE usage_records SET charge_time = '2026-11-02 23:30Z' WHERE image_id = %s", failed
    )
    return shop


async def reports(shop: Shop) -> list[UsageReport]:
    await shop.as_role("atelier_gateway")
    return [
        await query_usage(
            shop.connection,
            tenant_id=shop.tenant_id,
            time_zone=shop.tenant.time_zone,
            group_by=group_by,
            chosen=chosen,
            limit=100,
            label_key="campaign" if UsageDimension.LABEL in group_by else "",
        )
        for group_by in GROUPINGS
        for chosen in FILTERS
    ]


async def make_roll_ups(shop: Shop, *, time_zone: str = "Europe/Berlin") -> None:
    await shop.as_role("atelier_housekeeper")
    await roll_up_anew(shop.connection, TenantClock(tenant_id=shop.tenant_id, time_zone=time_zone))


async def test_every_report_is_the_same_with_roll_ups(shop: Shop) -> None:
    before = await reports(shop)

    await make_roll_ups(shop)

    assert await reports(shop) == before


async def test_every_report_is_the_same_while_a_part_is_fresh_and_when_it_is_rolled_up(
    shop: Shop,
) -> None:
    await make_roll_ups(shop)
    # It comes late, into a day that has a roll-up.
    late = await shop.accept(images=2, project="spring", labels={"campaign": "mugs"})
    for _ in range(2):
        await shop.draw(await shop.claim())
    await shop.move_charges(late, datetime(2026, 11, 2, 13, tzinfo=UTC))
    fresh = await reports(shop)

    await shop.as_role("atelier_housekeeper")
    count = await roll_up(shop.connection, shop.tenant_id, limit=100)
    rolled = await reports(shop)
    await shop.without_guards(
        "DELETE FROM usage_roll_up_clocks WHERE tenant_id = %s", shop.tenant_id
    )

    assert count == 2
    assert rolled == fresh == await reports(shop)


@pytest.mark.parametrize("page_size", [1, 2, 3])
@pytest.mark.parametrize("has_roll_ups", [False, True])
async def test_pages_of_days_together_are_the_whole_report(
    shop: Shop, page_size: int, has_roll_ups: bool
) -> None:
    if has_roll_ups:
        await make_roll_ups(shop)
    by_day = [grouping for grouping in GROUPINGS if UsageDimension.DAY in grouping]

    for group_by in by_day:
        for chosen in FILTERS:
            whole = await one_page(shop, group_by, chosen, position=None, limit=100)
            assert await all_pages(shop, group_by, chosen, page_size=page_size) == whole.groups


async def all_pages(
    shop: Shop,
    group_by: tuple[UsageDimension, ...],
    chosen: UsageFilter,
    *,
    page_size: int,
) -> list[UsageSum]:
    """Ask as the gateway does: one more than a page, and on from where it ended."""
    groups: list[UsageSum] = []
    position: Position | None = None
    while True:
        page = await one_page(shop, group_by, chosen, position=position, limit=page_size + 1)
        from_day, offset = place_of(position)
        placed = with_places(page.groups[:page_size], from_day=from_day, offset=offset)
        groups += [group for _, group in placed]
        if len(page.groups) <= page_size:
            return groups
        position = placed[-1][0]


async def one_page(
    shop: Shop,
    group_by: tuple[UsageDimension, ...],
    chosen: UsageFilter,
    *,
    position: Position | None,
    limit: int,
) -> UsageReport:
    await shop.as_role("atelier_gateway")
    from_day, offset = place_of(position)
    return await query_usage(
        shop.connection,
        tenant_id=shop.tenant_id,
        time_zone=shop.tenant.time_zone,
        group_by=group_by,
        chosen=chosen,
        limit=limit,
        offset=offset,
        from_day=from_day,
        label_key="campaign" if UsageDimension.LABEL in group_by else "",
    )


async def test_usage_is_split_by_the_values_of_a_label(shop: Shop) -> None:
    await make_roll_ups(shop)
    await shop.as_role("atelier_gateway")

    report = await query_usage(
        shop.connection,
        tenant_id=shop.tenant_id,
        time_zone=shop.tenant.time_zone,
        group_by=(UsageDimension.LABEL,),
        chosen=UsageFilter(),
        limit=10,
        label_key="campaign",
    )

    assert [(row.label_value, row.image_count, row.failed_count) for row in report.groups] == [
        ("", 4, 1),
        ("mugs", 2, 0),
        ("vases", 2, 0),
    ]


async def test_roll_ups_of_another_clock_are_not_used_and_made_anew(shop: Shop) -> None:
    await make_roll_ups(shop, time_zone="Asia/Tokyo")
    before = await reports(shop)
    await shop.as_role("atelier_housekeeper")
    wrong = [
        clock for clock in await wrong_clocks(shop.connection) if clock.tenant_id == shop.tenant_id
    ]
    await roll_up_anew(shop.connection, wrong[0])

    assert [clock.time_zone for clock in wrong] == ["Europe/Berlin"]
    assert await get_clock(shop.connection, shop.tenant_id) == "Europe/Berlin"
    assert await reports(shop) == before


async def test_nothing_is_rolled_up_for_a_tenant_without_a_clock(shop: Shop) -> None:
    await shop.as_role("atelier_housekeeper")

    assert await roll_up(shop.connection, shop.tenant_id, limit=100) == 0


async def test_two_housekeepers_at_the_same_moment_count_each_image_once(
    postgres: Postgres, become: Become, fresh_tenant_id: str
) -> None:
    connect = AsyncConnection[TupleRow].connect
    async with (
        await connect(postgres.admin_url) as selling,
        await connect(postgres.admin_url) as first,
        await connect(postgres.admin_url) as second,
    ):
        shop = await open_shop(selling, become, tenant_id=fresh_tenant_id)
        await shop.sell(images=2)
        await selling.commit()
        clock = TenantClock(tenant_id=shop.tenant_id, time_zone="Europe/Berlin")
        for housekeeper in (first, second):
            await become(housekeeper, "atelier_housekeeper", tenant_id=shop.tenant_id)

        await roll_up_anew(first, clock)
        making = asyncio.create_task(roll_up_anew(second, clock))
        await until_blocked(selling, second)
        await first.commit()
        await making
        await second.commit()

        counted = await (
            await selling.execute(
                "SELECT sum(image_count) FROM usage_roll_ups WHERE tenant_id = %s AND NOT is_month",
                [fresh_tenant_id],
            )
        ).fetchone()
    assert counted == (2,)


async def test_roll_ups_made_anew_wait_for_who_takes_fresh_usage(
    postgres: Postgres, become: Become, fresh_tenant_id: str
) -> None:
    connect = AsyncConnection[TupleRow].connect
    async with (
        await connect(postgres.admin_url) as selling,
        await connect(postgres.admin_url) as first,
        await connect(postgres.admin_url) as second,
    ):
        shop = await open_shop(selling, become, tenant_id=fresh_tenant_id)
        await shop.sell()
        await make_roll_ups(shop)
        await shop.sell()
        await selling.commit()
        for housekeeper in (first, second):
            await become(housekeeper, "atelier_housekeeper", tenant_id=shop.tenant_id)

        taken = await roll_up(first, shop.tenant_id, limit=10)
        clock = TenantClock(tenant_id=shop.tenant_id, time_zone="America/New_York")
        making = asyncio.create_task(roll_up_anew(second, clock))
        await until_blocked(selling, second)
        await first.commit()
        await making
        await second.commit()

        counted = await (
            await selling.execute(
                "SELECT sum(image_count) FROM usage_roll_ups WHERE tenant_id = %s AND NOT is_month",
                [fresh_tenant_id],
            )
        ).fetchone()
    assert (taken, counted) == (1, (2,))


async def test_another_tenants_roll_ups_are_not_seen(
    shop: Shop, connection: AsyncConnection, become: Become
) -> None:
    await make_roll_ups(shop)
    zeta = await open_shop(connection, become, tenant_id="zeta-of-roll-ups")
    await make_roll_ups(zeta)

    stranger = replace(shop, tenant=replace(shop.tenant, tenant_id=zeta.tenant_id))

    assert [report for report in await reports(stranger) if report.total or report.groups] == []
    await zeta.as_role("atelier_gateway")
    seen = await (await connection.execute("SELECT count(*) FROM usage_roll_ups")).fetchone()
    assert seen == (0,)
