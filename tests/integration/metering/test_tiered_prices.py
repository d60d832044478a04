"""Tiers of quantity in the real tables: each capture reads the counter and moves it on."""

from dataclasses import replace

from psycopg import AsyncConnection

from metering.period_counters import read_counts
from metering.periods import BillingPeriod
from metering.price_document import Component, PriceComponent, PriceDocument, PriceTier
from tests.integration.fixture_types import Become
from tests.integration.metering.shop import PRICE, Shop, open_shop

TIERED = PriceDocument(
    currency="EUR",
    components=(
        PriceComponent(
            kind=Component.PER_IMAGE,
            lower_tiers=(PriceTier(up_to_quantity=2, unit_price_nanos=1_000),),
            unit_price_nanos=600,
        ),
    ),
)


async def prices_of(shop: Shop) -> list[int]:
    await shop.as_role(None)
    cursor = await shop.connection.execute(
        "SELECT price_nanos FROM usage_records WHERE tenant_id = %s AND outcome = 'SUCCEEDED'"
        " ORDER BY price_nanos DESC",
        [shop.tenant_id],
    )
    return [price_nanos for (price_nanos,) in await cursor.fetchall()]


async def images_counted(shop: Shop) -> int:
    period = BillingPeriod.containing(shop.price.create_time, time_zone=shop.tenant.time_zone)
    await shop.as_role("atelier_gateway")
    counted = await read_counts(
        shop.connection, tenant_id=shop.tenant_id, period_start=period.start_time
    )
    return counted.counts.get((Component.PER_IMAGE, "mini"), 0)


async def test_each_image_costs_what_its_place_in_the_period_says(
    connection: AsyncConnection, become: Become
) -> None:
    shop = await open_shop(connection, become, tenant_id="acme-of-tiers", price=TIERED)

    await shop.sell(images=3)

    assert await prices_of(shop) == [1_000, 1_000, 600]
    assert await images_counted(shop) == 3


async def test_an_image_that_is_not_charged_is_not_counted(
    connection: AsyncConnection, become: Become
) -> None:
    shop = await open_shop(connection, become, tenant_id="acme-of-tiers", price=TIERED)

    await shop.fail()
    await shop.sell()

    assert await images_counted(shop) == 1


async def test_a_new_version_goes_on_counting_where_the_old_one_was(
    connection: AsyncConnection, become: Become
) -> None:
    flat = replace(
        PRICE, components=(PriceComponent(kind=Component.PER_IMAGE, unit_price_nanos=7),)
    )
    shop = await open_shop(connection, become, tenant_id="acme-of-tiers", price=flat)
    await shop.sell(images=2)

    tiered = await shop.with_price(TIERED)
    await tiered.sell()

    # The third image of the period, under whatever version the first two were sold.
    assert await prices_of(shop) == [600, 4, 4]


async def test_a_job_keeps_the_price_it_was_accepted_at(
    connection: AsyncConnection, become: Become
) -> None:
    # The newer price is the cheaper one: a dearer one would be capped at the hold.
    shop = await open_shop(connection, become, tenant_id="acme-of-tiers", price=PRICE)
    await shop.accept()
    claimed = await shop.claim()

    await shop.with_price(TIERED)
    await shop.draw(claimed)

    assert await prices_of(shop) == [750_312]
