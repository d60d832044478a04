"""The operator's cost book in the database: immutable, and out of every tenant's sight."""

from datetime import UTC, datetime

import pytest
from psycopg import AsyncConnection
from psycopg.errors import InsufficientPrivilege, RestrictViolation

from metering.cost_book import insert_cost_version, list_costs
from metering.cost_document import CostDocument
from metering.errors import PriceVersionExistsError
from metering.margins import (
    Margin,
    MarginDimension,
    MarginFilter,
    query_margin,
)
from tests.integration.fixture_types import Become
from tests.integration.metering.shop import Shop, open_shop

COSTS = CostDocument(currency="EUR", gpu_second_nanos=100_000, kwh_nanos=300_000_000)
SINCE = datetime(2001, 1, 1, tzinfo=UTC)
# What two images of the shop cost: 1.5 s and 9 J each.
TWO = Margin(
    image_count=2, revenue_nanos=1_500_624, gpu_cost_nanos=300_000, energy_cost_nanos=1_500
)


@pytest.fixture
async def shop(connection: AsyncConnection, become: Become) -> Shop:
    """Two images charged, one that failed, and costs since long ago."""
    shop = await open_shop(connection, become, tenant_id="acme-of-margins")
    await shop.sell(images=2)
    await shop.fail()
    await shop.as_role("atelier_operator")
    await insert_cost_version(connection, effective_time=SINCE, document=COSTS)
    return shop


def all_of(shop: Shop) -> MarginFilter:
    return MarginFilter(
        start_time=SINCE, end_time=datetime(2999, 1, 1, tzinfo=UTC), tenant_id=shop.tenant_id
    )


async def test_what_was_charged_is_told_beside_what_it_cost(shop: Shop) -> None:
    report = await query_margin(shop.connection, all_of(shop), group_by=())

    assert report.totals() == {"EUR": TWO}
    assert TWO.margin_nanos == 1_500_624 - 301_500


async def test_each_image_of_a_job_is_told(shop: Shop) -> None:
    report = await query_margin(
        shop.connection, all_of(shop), group_by=(MarginDimension.JOB, MarginDimension.IMAGE)
    )

    assert [margin.margin_nanos for _, margin in report.groups()] == [599_562, 599_562]
    assert len({key.image_id for key, _ in report.groups()}) == 2


async def test_costs_never_change_and_begin_once(shop: Shop) -> None:
    with pytest.raises(PriceVersionExistsError):
        async with shop.connection.transaction():
            await insert_cost_version(shop.connection, effective_time=SINCE, document=COSTS)
    await shop.become(shop.connection, None)
    with pytest.raises(RestrictViolation):
        async with shop.connection.transaction():
            await shop.connection.execute("UPDATE cost_versions SET currency = 'USD'")

    # Other tests' versions may lie in the table too.
    versions = await list_costs(shop.connection, limit=99)
    assert [one.document for one in versions if one.effective_time == SINCE] == [COSTS]


async def test_no_role_but_the_operator_s_may_read_costs(shop: Shop) -> None:
    await shop.become(shop.connection, None)
    cursor = await shop.connection.execute(
        "SELECT rolname FROM pg_roles WHERE rolname LIKE 'atelier%' AND NOT rolsuper"
    )
    roles = [name for (name,) in await cursor.fetchall()]

    refused: list[str] = []
    for role in roles:
        await shop.as_role(role)
        try:
            async with shop.connection.transaction():
                await shop.connection.execute("SELECT FROM cost_versions")
        except InsufficientPrivilege:
            refused.append(role)
        await shop.become(shop.connection, None)

    # The owner holds the tables and never logs in.
    assert set(roles) - set(refused) == {"atelier_operator", "atelier_owner"}
