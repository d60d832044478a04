"""An invoice is finalized once, in order, with all that its period ends with."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import AsyncConnection

from metering.errors import (
    InvariantsViolatedError,
    InvoiceNotDueError,
    InvoiceNotFoundError,
    InvoiceOutOfOrderError,
    InvoiceStateError,
)
from metering.invoice_document import InvoiceState, LineKind
from metering.invoices import list_invoices
from metering.price_document import (
    Component,
    Discount,
    PriceComponent,
    PriceTier,
    TierMode,
)
from tests.integration.fixture_types import Become
from tests.integration.metering.finalized.office import (
    NOW,
    OCTOBER,
    PRICE,
    SEPTEMBER,
    balances,
    finalize,
    long_open_shop,
    read,
    sell_in,
    violated,
    void,
    wallet_nanos,
)
from tests.integration.metering.shop import ISSUER, Shop


async def test_a_finalized_invoice_has_a_number_and_stays_as_it_was_sent(shop: Shop) -> None:
    await sell_in(shop, OCTOBER, images=3)

    sent = await finalize(shop)
    # What is charged afterwards does not touch it.
    await sell_in(shop, OCTOBER)

    assert (sent.state, sent.invoice_number) == (InvoiceState.FINALIZED, 1)
    assert [(line.kind, line.billed_cost_nanos) for line in sent.lines] == [
        (LineKind.USAGE, 3_703_703_673),
        (LineKind.TAX, 703_703_698),
        (LineKind.CREDIT_APPLIED, -3_000_000_000),
        (LineKind.ROUNDING, 2_592_629),
    ]
    assert sent.total_nanos == sent.due_nanos == 1_410_000_000
    assert await read(shop) == sent


async def test_captures_and_transfers_of_the_period_are_the_invoice(shop: Shop) -> None:
    await sell_in(shop, OCTOBER, images=3)

    sent = await finalize(shop)

    rows = await (
        await shop.connection.execute(
            "SELECT transfer.reason, transfer.amount_nanos FROM invoice_transfers "
            "JOIN transfers AS transfer USING (tenant_id, transfer_id) WHERE tenant_id = %s "
            "ORDER BY transfer_id",
            [shop.tenant_id],
        )
    ).fetchall()
    assert rows == [("TAX", 703_703_698), ("ROUNDING", 2_592_629)]
    assert 3_703_703_673 + 703_703_698 + 2_592_629 - sent.credit_applied_nanos == sent.total_nanos
    # Tax and rounding have accounts of their own: the wallet knows only what was captured.
    assert await wallet_nanos(shop) == 3_000_000_000 - 3_703_703_673
    assert await violated(shop) == []


async def test_what_the_period_ends_with_is_on_the_invoice_and_in_the_ledger(
    connection: AsyncConnection, become: Become
) -> None:
    price = replace(
        PRICE,
        components=(
            PriceComponent(
                kind=Component.PER_IMAGE,
                tier_mode=TierMode.VOLUME,
                lower_tiers=(PriceTier(up_to_quantity=2, unit_price_nanos=1_000_000_000),),
                unit_price_nanos=800_000_000,
            ),
        ),
        discounts=(Discount(display_name="Partner 10 %", rate_millionths=100_000),),
        minimum_per_period_nanos=5_000_000_000,
    )
    shop = await long_open_shop(connection, become, tenant_id="acme-of-ends", price=price)
    # October is its first month: it owes no minimum of an earlier one.
    await shop.open_since(OCTOBER)
    await sell_in(shop, OCTOBER, images=3)

    sent = await finalize(shop)

    assert [(line.kind, line.billed_cost_nanos) for line in sent.lines] == [
        (LineKind.USAGE, 2_000_000_000),
        (LineKind.USAGE, 800_000_000),
        # All three at the price of the third.
        (LineKind.VOLUME_TIER, -400_000_000),
        (LineKind.DISCOUNT, -240_000_000),
        (LineKind.MINIMUM, 2_840_000_000),
        (LineKind.TAX, 950_000_000),
        # What the images cost, less what went back to the wallet; the minimum is owed beside it.
        (LineKind.CREDIT_APPLIED, -2_160_000_000),
    ]
    assert sent.subtotal_nanos == 5_000_000_000
    assert sent.total_nanos == 3_790_000_000
    assert await wallet_nanos(shop) == 840_000_000
    assert await violated(shop) == []


async def test_a_void_invoice_takes_the_periods_end_back(
    connection: AsyncConnection, become: Become
) -> None:
    price = replace(
        PRICE,
        discounts=(Discount(display_name="Partner 10 %", rate_millionths=100_000),),
        minimum_per_period_nanos=5_000_000_000,
    )
    shop = await long_open_shop(connection, become, tenant_id="acme-of-ends", price=price)
    # October is its first month: it owes no minimum of an earlier one.
    await shop.open_since(OCTOBER)
    await sell_in(shop, OCTOBER, images=3)
    await finalize(shop)

    await void(shop)

    assert await balances(shop) == {"FUNDING": 3_000_000_000, "WALLET": -3_000_000_000}
    assert await violated(shop) == []


async def test_an_invoice_is_finalized_once(shop: Shop) -> None:
    await sell_in(shop, OCTOBER)
    await finalize(shop)

    with pytest.raises(InvoiceStateError, match="FINALIZED"):
        await finalize(shop)


async def test_numbers_count_up_without_a_gap_for_each_tenant(
    shop: Shop, connection: AsyncConnection, become: Become
) -> None:
    other = await long_open_shop(connection, become, tenant_id="zeta-of-states")
    for tenant in (shop, other):
        await sell_in(tenant, SEPTEMBER)
        await sell_in(tenant, OCTOBER)

    numbers = [
        (await finalize(tenant, month)).invoice_number
        for tenant in (shop, other)
        for month in ("2026-09", "2026-10")
    ]

    assert numbers == [1, 2, 1, 2]


async def test_a_period_waits_for_its_end_and_for_late_facts(shop: Shop) -> None:
    await sell_in(shop, OCTOBER)
    # October ends at 23:00 UTC of the 31st in Berlin.
    too_early = datetime(2026, 11, 1, 22, 59, tzinfo=UTC)

    with pytest.raises(InvoiceNotDueError) as raised:
        await finalize(shop, now=too_early)
    sent = await finalize(shop, now=too_early + timedelta(minutes=1))

    assert raised.value.due_time == datetime(2026, 11, 1, 23, tzinfo=UTC)
    assert sent.invoice_number == 1


async def test_months_are_finalized_in_their_order(shop: Shop) -> None:
    await sell_in(shop, SEPTEMBER)
    await sell_in(shop, OCTOBER)

    with pytest.raises(InvoiceOutOfOrderError) as too_soon:
        await finalize(shop, "2026-10")
    await finalize(shop, "2026-09")
    await finalize(shop, "2026-10")
    with pytest.raises(InvoiceOutOfOrderError) as too_late:
        await finalize(shop, "2026-08")

    assert too_soon.value.other_id == "2026-09"
    assert too_late.value.other_id == "2026-10"


async def test_a_late_fact_is_an_adjustment_of_the_next_invoice(shop: Shop) -> None:
    await sell_in(shop, SEPTEMBER, images=2)
    await finalize(shop, "2026-09")
    await sell_in(shop, SEPTEMBER)
    await sell_in(shop, OCTOBER)

    draft = await read(shop, "2026-10")
    sent = await finalize(shop, "2026-10")

    assert [
        (line.kind, line.description, line.billed_cost_nanos, line.image_count)
        for line in sent.lines[:2]
    ] == [
        (LineKind.USAGE, "Images", 1_234_567_891, 1),
        (LineKind.ADJUSTMENT, "Images, late usage of 2026-09", 1_234_567_891, 1),
    ]
    assert sent.lines == draft.lines
    assert await violated(shop) == []


async def test_a_month_that_later_ones_have_passed_has_no_draft(shop: Shop) -> None:
    await sell_in(shop, OCTOBER)
    await finalize(shop)

    with pytest.raises(InvoiceNotFoundError):
        await read(shop, "2026-08")


async def test_a_period_begins_where_the_last_one_ended_when_the_clock_has_moved(
    shop: Shop,
) -> None:
    await sell_in(shop, SEPTEMBER)
    await finalize(shop, "2026-09")
    # Between September's end in Berlin and October's begin in New York.
    await sell_in(shop, datetime(2026, 10, 1, 1, tzinfo=UTC))
    await shop.without_guards(
        "UPDATE tenants SET time_zone = 'America/New_York' WHERE tenant_id = %s", shop.tenant_id
    )

    sent = await finalize(shop, "2026-10")

    assert sent.billing_period_start == datetime(2026, 9, 30, 22, tzinfo=UTC)
    assert sent.billing_period_end == datetime(2026, 11, 1, 4, tzinfo=UTC)
    assert [line.kind for line in sent.lines if line.component] == [LineKind.USAGE]


async def test_a_violated_invariant_stops_the_tenants_finalization(shop: Shop) -> None:
    await sell_in(shop, OCTOBER)
    await shop.without_guards(
        "UPDATE accounts SET credits_posted = credits_posted + 1 "
        "WHERE tenant_id = %s AND kind = 'REVENUE'",
        shop.tenant_id,
    )

    with pytest.raises(InvariantsViolatedError, match="account_counters_differ"):
        await finalize(shop)


async def test_invoices_are_listed_with_what_waits_and_what_was_sent(shop: Shop) -> None:
    await sell_in(shop, SEPTEMBER)
    await finalize(shop, "2026-09")
    await sell_in(shop, OCTOBER)
    await shop.as_role("atelier_gateway")

    listed = await list_invoices(shop.connection, shop.tenant, issuer=ISSUER, now=NOW, limit=9)

    assert [(invoice.invoice_id, invoice.state) for invoice in listed] == [
        ("2026-11", InvoiceState.DRAFT),
        ("2026-10", InvoiceState.DRAFT),
        ("2026-09", InvoiceState.FINALIZED),
    ]
