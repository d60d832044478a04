"""A past period under another price: the same facts, the same rules, nothing stored."""

from dataclasses import replace

import pytest
from psycopg import AsyncConnection

from metering.errors import ModelNotPricedError
from metering.invoice_document import LineKind
from metering.invoice_totals import InvoiceTotals
from metering.periods import BillingPeriod
from metering.price_document import (
    Component,
    Discount,
    PriceComponent,
    PriceDocument,
    PriceTier,
)
from metering.price_simulation import simulate_price
from tests.integration.fixture_types import Become
from tests.integration.metering.shop import PRICE, Shop, open_shop


@pytest.fixture
async def shop(connection: AsyncConnection, become: Become) -> Shop:
    """Three images charged, one that failed."""
    shop = await open_shop(connection, become, tenant_id="acme-of-what-if")
    await shop.sell(images=3)
    await shop.fail()
    return shop


async def simulate(shop: Shop, price: PriceDocument) -> InvoiceTotals:
    await shop.as_role("atelier_gateway")
    period = BillingPeriod.containing(shop.price.create_time, time_zone=shop.tenant.time_zone)
    return await simulate_price(shop.connection, shop.tenant_id, period=period, price=price)


async def test_under_its_own_price_a_period_costs_what_it_cost(shop: Shop) -> None:
    totals = await simulate(shop, PRICE)

    assert totals.subtotal_nanos == 3 * 750_312


async def test_tiers_discounts_and_minimum_of_the_other_price_count(shop: Shop) -> None:
    tiered = PriceComponent(
        kind=Component.PER_IMAGE,
        lower_tiers=(PriceTier(up_to_quantity=2, unit_price_nanos=10_000_000),),
        unit_price_nanos=4_000_000,
    )
    price = replace(
        PRICE,
        components=(tiered,),
        tax_rates=(),
        discounts=(Discount(display_name="Loyal", rate_millionths=250_000),),
    )

    totals = await simulate(shop, price)

    # BATCH is half: two at 5,000,000, one at 2,000,000; a quarter off.
    assert [(line.kind, line.billed_cost_nanos) for line in totals.lines] == [
        (LineKind.USAGE, 2_000_000),
        (LineKind.USAGE, 10_000_000),
        (LineKind.DISCOUNT, -3_000_000),
        (LineKind.ROUNDING, 1_000_000),
    ]
    assert totals.total_nanos == 10_000_000


async def test_a_price_without_the_model_is_refused(shop: Shop) -> None:
    elsewhere = PriceComponent(kind=Component.PER_IMAGE, model="other", unit_price_nanos=1)

    with pytest.raises(ModelNotPricedError):
        await simulate(shop, replace(PRICE, components=(elsewhere,)))
