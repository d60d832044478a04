"""A report's CO₂ is that of the factors of each image's time, as on its invoices."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from psycopg import AsyncConnection

from metering.energy_factors import EnergyFactors
from metering.usage_carbon import ALL_GROUPS, UsageCarbon, carbon_of
from metering.usage_questions import UsageDimension, UsageFilter
from metering.usage_reports import UsageReport, query_usage
from metering.usage_roll_ups import TenantClock, roll_up_anew
from tests.integration.fixture_types import Become
from tests.integration.metering.shop import Shop, open_shop

# Within a day of which the one image is charged before and the other after.
CHANGE = datetime(2026, 10, 10, 12, tzinfo=UTC)
KWH = 3_600_000_000


def factors(time: datetime, *, pue: str, grams: str) -> EnergyFactors:
    return EnergyFactors(
        effective_time=time,
        pue=Decimal(pue),
        carbon_grams_per_kwh=Decimal(grams),
        source="the grid's operator",
    )


FIRST = factors(datetime(2026, 1, 1, tzinfo=UTC), pue="1.5", grams="400")
SECOND = factors(CHANGE, pue="1.25", grams="200")


@pytest.fixture
async def shop(connection: AsyncConnection, become: Become) -> Shop:
    """A kWh in the morning, two in the afternoon of one day, four a month later."""
    shop = await open_shop(connection, become, tenant_id="acme-of-carbon")
    for time, kwh in (
        (datetime(2026, 10, 10, 9, tzinfo=UTC), 1),
        (datetime(2026, 10, 10, 15, tzinfo=UTC), 2),
        (datetime(2026, 11, 10, 15, tzinfo=UTC), 4),
    ):
        job_id = await shop.accept()
        await shop.draw(await shop.claim(), energy_millijoules=kwh * KWH)
        await shop.move_charges(job_id, time)
    return shop


async def carbon(
    shop: Shop,
    *versions: EnergyFactors,
    chosen: UsageFilter | None = None,
    group_by: tuple[UsageDimension, ...] = (),
) -> UsageCarbon:
    await shop.as_role("atelier_gateway")

    async def query(part: UsageFilter) -> UsageReport:
        return await query_usage(
            shop.connection,
            tenant_id=shop.tenant_id,
            time_zone=shop.tenant.time_zone,
            group_by=group_by,
            chosen=part,
            limit=ALL_GROUPS,
        )

    wanted = chosen or UsageFilter()
    return await carbon_of(await query(wanted), chosen=wanted, versions=versions, query_all=query)


@pytest.mark.parametrize("is_rolled_up", [False, True])
async def test_each_image_counts_by_the_factors_of_its_time(
    shop: Shop, *, is_rolled_up: bool
) -> None:
    if is_rolled_up:
        await shop.as_role("atelier_housekeeper")
        await roll_up_anew(
            shop.connection,
            TenantClock(tenant_id=shop.tenant_id, time_zone=shop.tenant.time_zone),
        )

    told = await carbon(shop, FIRST, SECOND, group_by=(UsageDimension.DAY,))

    assert told.groups == (1 * 600 + 2 * 250, 4 * 250)
    assert told.total == 600 + 6 * 250
    assert told.factors == (FIRST, SECOND)


async def test_a_time_within_one_version_has_that_one_alone(shop: Shop) -> None:
    told = await carbon(shop, FIRST, SECOND, chosen=UsageFilter(end_time=CHANGE))

    assert (told.total, told.factors) == (600, (FIRST,))


async def test_nothing_is_said_of_what_was_used_before_the_first_factors(shop: Shop) -> None:
    told = await carbon(shop, SECOND, group_by=(UsageDimension.DAY,))

    assert told.groups == (None, 1_000)
    assert told.total is None


async def test_without_factors_nothing_is_said_at_all(shop: Shop) -> None:
    told = await carbon(shop)

    assert (told.total, told.factors) == (None, ())
