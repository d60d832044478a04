"""Usage on the real tables: receipts as they were charged, sums by every dimension."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from psycopg import AsyncConnection

from metering.energy_source import EnergySource
from metering.price_document import Component, Tier
from metering.usage_records import BatchShare, UsageOutcome, get_receipts
from metering.usage_reports import (
    UsageDimension,
    UsageFilter,
    UsageSum,
    list_usage,
    query_usage,
)
from tests.integration.fixture_types import Become
from tests.integration.metering.shop import Shop, open_shop

ALL = UsageFilter()


@pytest.fixture
async def shop(connection: AsyncConnection, become: Become) -> Shop:
    return await open_shop(connection, become, tenant_id="acme-of-usage")


async def sums(
    shop: Shop, *group_by: UsageDimension, chosen: UsageFilter = ALL, limit: int = 100
) -> list[UsageSum]:
    await shop.as_role("atelier_gateway")
    report = await query_usage(
        shop.connection,
        tenant_id=shop.tenant_id,
        time_zone=shop.tenant.time_zone,
        group_by=group_by,
        chosen=chosen,
        limit=limit,
    )
    return list(report.groups)


async def test_a_receipt_tells_what_was_drawn_and_charged(shop: Shop) -> None:
    await shop.accept()
    image_id = await shop.draw(await shop.claim())
    await shop.as_role("atelier_gateway")

    receipts = await get_receipts(shop.connection, tenant_id=shop.tenant_id, image_ids=[image_id])

    receipt = receipts[image_id]
    assert receipt.usage.outcome is UsageOutcome.SUCCEEDED
    assert receipt.usage.tier is Tier.BATCH
    assert receipt.usage.seed == 7
    assert receipt.usage.batch_shares == (BatchShare(batch_size=2, step_count=3),)
    assert receipt.usage.energy_source is EnergySource.ESTIMATED
    assert receipt.usage.price_nanos == 750_312
    assert [
        (line.component, line.consumed_quantity, line.list_unit_price_nanos, line.billed_cost_nanos)
        for line in receipt.lines
    ] == [
        # 500,000.5 is a half: the even neighbour.
        (Component.PER_IMAGE, Decimal(1), Decimal("500000.5"), 500_000),
        (Component.PER_GPU_SECOND, Decimal("1.5"), Decimal("166666.5"), 250_000),
        (Component.PER_KWH, Decimal("0.0000025"), Decimal(125_000_000), 312),
    ]


async def test_a_price_above_its_hold_is_capped_in_a_line_of_its_own(shop: Shop) -> None:
    await shop.accept()
    image_id = await shop.draw(await shop.claim(), gpu_seconds=1000.0)
    await shop.as_role("atelier_gateway")

    receipts = await get_receipts(shop.connection, tenant_id=shop.tenant_id, image_ids=[image_id])

    receipt = receipts[image_id]
    # The ceiling: half of an image, ten GPU-seconds and 10 kJ.
    assert receipt.usage.price_nanos == 500_001 + 1_666_665 + 347_223
    assert receipt.lines[-1].component is Component.CAP
    assert sum(line.billed_cost_nanos for line in receipt.lines) == receipt.usage.price_nanos


async def test_an_image_that_failed_is_told_of_and_costs_nothing(shop: Shop) -> None:
    image_id = await shop.fail()
    await shop.as_role("atelier_gateway")

    receipts = await get_receipts(shop.connection, tenant_id=shop.tenant_id, image_ids=[image_id])

    assert receipts[image_id].usage.outcome is UsageOutcome.FAILED
    assert receipts[image_id].usage.failure_reason == "OUT_OF_MEMORY"
    assert receipts[image_id].usage.price_nanos == 0
    assert receipts[image_id].lines == ()


async def test_without_groups_there_is_one_sum_of_everything(shop: Shop) -> None:
    await shop.sell(images=3)
    await shop.fail()

    (total,) = await sums(shop)

    assert (total.image_count, total.succeeded_count, total.failed_count) == (4, 3, 1)
    assert total.gpu_seconds == 4.5
    assert total.energy_millijoules == 27_000
    # Three independent errors of 400.
    assert total.energy_error_millijoules == 693
    assert total.energy_source is EnergySource.ESTIMATED
    assert total.billed_cost_nanos == 3 * 750_312
    assert total.model is None


async def test_no_usage_is_no_sum(shop: Shop) -> None:
    assert await sums(shop) == []


async def test_usage_is_split_by_project_tier_size_and_outcome(shop: Shop) -> None:
    await shop.sell(images=2, project="spring")
    await shop.sell(images=1, project="autumn")
    await shop.accept(width=128)
    await shop.draw(await shop.claim())
    await shop.fail()

    by_project = await sums(shop, UsageDimension.PROJECT)
    by_size = await sums(shop, UsageDimension.SIZE)
    by_outcome = await sums(shop, UsageDimension.OUTCOME, UsageDimension.MODEL)
    by_job = await sums(shop, UsageDimension.JOB, UsageDimension.KEY)

    assert [(row.project, row.image_count) for row in by_project] == [
        ("", 2),
        ("autumn", 1),
        ("spring", 2),
    ]
    assert [(row.width, row.height, row.image_count) for row in by_size] == [
        (64, 64, 4),
        (128, 64, 1),
    ]
    assert [(row.outcome, row.model, row.image_count) for row in by_outcome] == [
        (UsageOutcome.FAILED, "mini", 1),
        (UsageOutcome.SUCCEEDED, "mini", 4),
    ]
    assert sorted(row.image_count for row in by_job) == [1, 1, 1, 2]
    assert {row.key_id for row in by_job} == {"k1"}


async def test_days_are_those_of_the_tenants_clock(shop: Shop) -> None:
    late = await shop.sell()
    next_day = await shop.sell()
    await shop.move_charges(late, datetime(2026, 11, 23, 22, 59, tzinfo=UTC))
    await shop.move_charges(next_day, datetime(2026, 11, 23, 23, 1, tzinfo=UTC))

    rows = await sums(shop, UsageDimension.DAY)

    assert [row.day for row in rows] == [date(2026, 11, 23), date(2026, 11, 24)]


async def test_a_sum_names_the_weakest_source_of_its_energy(shop: Shop) -> None:
    for source in (EnergySource.NVML_COUNTER, EnergySource.PARTIAL, EnergySource.RAPL):
        await shop.accept()
        await shop.draw(await shop.claim(), energy_source=source)

    (total,) = await sums(shop)

    assert total.energy_source is EnergySource.PARTIAL


async def test_a_filter_lets_through_what_meets_all_its_conditions(shop: Shop) -> None:
    wanted = await shop.sell(images=2, project="spring")
    await shop.sell(images=1, project="autumn")
    await shop.fail()

    async def count(chosen: UsageFilter) -> int:
        return sum(row.image_count for row in await sums(shop, chosen=chosen))

    assert await count(UsageFilter(project="spring")) == 2
    assert await count(UsageFilter(job_id=wanted)) == 2
    assert await count(UsageFilter(outcomes=(UsageOutcome.FAILED,))) == 1
    assert await count(UsageFilter(model="other")) == 0
    assert await count(UsageFilter(end_time=datetime(2020, 1, 1, tzinfo=UTC))) == 0
    assert await count(UsageFilter(start_time=datetime(2020, 1, 1, tzinfo=UTC))) == 4


async def test_records_are_listed_newest_first_page_by_page(shop: Shop) -> None:
    jobs = [await shop.sell() for _ in range(3)]
    for day, job_id in enumerate(jobs, start=1):
        await shop.move_charges(job_id, datetime(2026, 11, day, tzinfo=UTC))
    await shop.as_role("atelier_gateway")

    first = await list_usage(shop.connection, tenant_id=shop.tenant_id, chosen=ALL, limit=2)
    rest = await list_usage(
        shop.connection,
        tenant_id=shop.tenant_id,
        chosen=ALL,
        limit=2,
        before=(first[-1].charge_time, first[-1].image_id),
    )

    assert [record.job_id for record in [*first, *rest]] == jobs[::-1]


async def test_usage_of_another_tenant_is_not_seen(
    shop: Shop, connection: AsyncConnection, become: Become
) -> None:
    zeta = await open_shop(connection, become, tenant_id="zeta-of-usage")
    await zeta.sell()

    # Neither by asking as oneself, nor by naming the other.
    assert await sums(shop) == []
    await shop.as_role("atelier_gateway")
    foreign = await list_usage(connection, tenant_id=zeta.tenant_id, chosen=ALL, limit=10)
    assert foreign == []
