"""Energy of attempts that came to nothing, in the report of their tenant."""

import pytest
from psycopg import AsyncConnection

from metering.usage_records import UsageOutcome
from metering.usage_reports import UsageDimension, UsageFilter, UsageReport, query_usage
from tenants.ids import ImageId
from tests.integration.fixture_types import Become
from tests.integration.metering.shop import MODEL, Shop, open_shop


@pytest.fixture
async def shop(connection: AsyncConnection, become: Become) -> Shop:
    """One image drawn with 300 mJ, one that failed after 500 mJ in two parts."""
    shop = await open_shop(connection, become, tenant_id="acme-of-overhead")
    await shop.accept()
    await have_shares(shop, await shop.draw(await shop.claim()), 300)
    await have_shares(shop, await shop.fail(), 400, 100)
    return shop


async def have_shares(shop: Shop, image_id: ImageId, *amounts_millijoules: int) -> None:
    for number, millijoules in enumerate(amounts_millijoules, start=1):
        await shop.without_guards(
            "INSERT INTO energy_shares VALUES (%s, 'gpu', 1, %s, %s, 1, %s, 0)",
            shop.tenant_id,
            number,
            image_id,
            millijoules,
        )


async def report(
    shop: Shop, *group_by: UsageDimension, chosen: UsageFilter | None = None
) -> UsageReport:
    await shop.as_role("atelier_gateway")
    return await query_usage(
        shop.connection,
        tenant_id=shop.tenant_id,
        time_zone=shop.tenant.time_zone,
        group_by=group_by,
        chosen=chosen or UsageFilter(),
        limit=100,
    )


def overheads(told: UsageReport) -> tuple[list[int], int]:
    assert told.total is not None
    return [group.overhead_millijoules for group in told.groups], told.total.overhead_millijoules


@pytest.mark.parametrize(
    "group_by",
    [
        (),
        (UsageDimension.DAY,),
        (UsageDimension.MODEL,),
        (UsageDimension.DAY, UsageDimension.MODEL),
    ],
)
async def test_attempts_that_came_to_nothing_are_shown_by_day_and_model(
    shop: Shop, group_by: tuple[UsageDimension, ...]
) -> None:
    assert overheads(await report(shop, *group_by)) == ([500], 500)


async def test_they_are_shown_by_job_as_far_as_they_are_its_own(shop: Shop) -> None:
    told, total = overheads(await report(shop, UsageDimension.JOB))

    assert (sorted(told), total) == ([0, 500], 500)


@pytest.mark.parametrize(
    ("chosen", "overhead_millijoules"),
    [
        (UsageFilter(model=MODEL, key_id=None, project=""), 500),
        (UsageFilter(outcomes=(UsageOutcome.FAILED,)), 0),
    ],
    ids=["model", "outcome"],
)
async def test_a_filter_holds_for_them_too(
    shop: Shop, chosen: UsageFilter, overhead_millijoules: int
) -> None:
    assert overheads(await report(shop, chosen=chosen)) == (
        [overhead_millijoules],
        overhead_millijoules,
    )


async def test_other_groupings_do_not_split_them(shop: Shop) -> None:
    assert overheads(await report(shop, UsageDimension.SIZE)) == ([0], 0)


async def test_another_tenant_s_are_not_counted(
    shop: Shop, connection: AsyncConnection, become: Become
) -> None:
    other = await open_shop(connection, become, tenant_id="zen-of-overhead")
    await other.sell()

    assert overheads(await report(other)) == ([0], 0)
