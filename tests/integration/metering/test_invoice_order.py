"""Which month is invoiced next, by whose price book, and who gets the prepaid credit."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import AsyncConnection

from metering.errors import InvoiceOutOfOrderError
from metering.invoice_document import Invoice, InvoiceState, LineKind
from metering.invoices import get_invoice, list_invoices
from metering.price_book import insert_price_version
from metering.price_document import Component, Discount, PriceComponent, PriceDocument, Tier
from tenants.tenant_store import lock_tenant, update_tenant
from tests.integration.fixture_types import Become
from tests.integration.metering.shop import ISSUER, Shop, open_shop

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
AUGUST = datetime(2026, 8, 10, tzinfo=UTC)
SEPTEMBER = datetime(2026, 9, 10, tzinfo=UTC)
OCTOBER = datetime(2026, 10, 10, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 10, tzinfo=UTC)
EURO = 1_000_000_000
PRICE = PriceDocument(
    currency="EUR",
    components=(PriceComponent(kind=Component.PER_IMAGE, unit_price_nanos=2 * EURO),),
)


async def shop_since(
    connection: AsyncConnection,
    become: Become,
    *,
    since: datetime,
    price: PriceDocument = PRICE,
    credit_nanos: int = 100 * EURO,
) -> Shop:
    """A tenant that has been there since a time, at one price for good."""
    shop = await open_shop(
        connection, become, tenant_id="acme-of-order", price=price, credit_nanos=credit_nanos
    )
    await shop.without_guards(
        "UPDATE price_versions SET effective_time = '2026-01-01Z' WHERE price_book = %s",
        shop.tenant_id,
    )
    await shop.grant_early(since)
    await shop.open_since(since)
    return replace(shop, tenant=replace(shop.tenant, create_time=since))


async def sell_in(shop: Shop, month: datetime, *, images: int = 1) -> None:
    await shop.move_charges(await shop.sell(images=images, tier=Tier.INTERACTIVE), month)


async def read(shop: Shop, invoice_id: str) -> Invoice:
    await shop.as_role("atelier_gateway")
    return await get_invoice(
        shop.connection, shop.tenant, invoice_id=invoice_id, issuer=ISSUER, now=NOW
    )


def costs(invoice: Invoice, kind: LineKind) -> list[int]:
    return [line.billed_cost_nanos for line in invoice.lines if line.kind is kind]


async def test_a_month_without_usage_is_not_skipped_when_it_owes_a_minimum(
    connection: AsyncConnection, become: Become
) -> None:
    price = replace(PRICE, minimum_per_period_nanos=5 * EURO)
    shop = await shop_since(connection, become, since=AUGUST, price=price)
    await sell_in(shop, AUGUST)
    await shop.finalize("2026-08", now=NOW)
    await sell_in(shop, OCTOBER)

    with pytest.raises(InvoiceOutOfOrderError) as refused:
        await shop.finalize("2026-10", now=NOW)
    september = await shop.finalize("2026-09", now=NOW)
    october = await shop.finalize("2026-10", now=NOW)

    assert refused.value.other_id == "2026-09"
    assert (september.invoice_number, september.image_count) == (2, 0)
    assert costs(september, LineKind.MINIMUM) == [5 * EURO]
    assert costs(october, LineKind.MINIMUM) == [3 * EURO]


async def test_the_first_month_of_a_tenant_that_used_nothing_owes_its_minimum_too(
    connection: AsyncConnection, become: Become
) -> None:
    price = replace(PRICE, minimum_per_period_nanos=5 * EURO)
    shop = await shop_since(connection, become, since=SEPTEMBER, price=price)
    await sell_in(shop, OCTOBER)

    with pytest.raises(InvoiceOutOfOrderError) as refused:
        await shop.finalize("2026-10", now=NOW)

    assert refused.value.other_id == "2026-09"


async def test_a_month_without_usage_and_minimum_is_skipped(
    connection: AsyncConnection, become: Become
) -> None:
    shop = await shop_since(connection, become, since=AUGUST)
    await sell_in(shop, AUGUST)
    await shop.finalize("2026-08", now=NOW)
    await sell_in(shop, OCTOBER)

    october = await shop.finalize("2026-10", now=NOW)

    assert october.invoice_number == 2


async def test_a_month_that_owes_only_a_minimum_is_listed(
    connection: AsyncConnection, become: Become
) -> None:
    price = replace(PRICE, minimum_per_period_nanos=5 * EURO)
    shop = await shop_since(connection, become, since=AUGUST, price=price)
    await sell_in(shop, AUGUST)
    await shop.finalize("2026-08", now=NOW)
    await shop.as_role("atelier_gateway")

    listed = await list_invoices(shop.connection, shop.tenant, issuer=ISSUER, now=NOW, limit=9)

    assert [(invoice.invoice_id, invoice.state) for invoice in listed] == [
        ("2026-11", InvoiceState.DRAFT),
        ("2026-10", InvoiceState.DRAFT),
        ("2026-09", InvoiceState.DRAFT),
        ("2026-08", InvoiceState.FINALIZED),
    ]


async def test_drafts_promise_prepaid_credit_once(
    connection: AsyncConnection, become: Become
) -> None:
    # A quarter off: October's invoice will need 3 of the 5 euros.
    price = replace(PRICE, discounts=(Discount(display_name="Partner", rate_millionths=250_000),))
    shop = await shop_since(connection, become, since=OCTOBER, price=price, credit_nanos=10 * EURO)
    await shop.without_guards(
        "UPDATE transfers SET amount_nanos = %s WHERE tenant_id = %s AND reason = 'CREDIT_GRANT'",
        5 * EURO,
        shop.tenant_id,
    )
    await sell_in(shop, OCTOBER, images=2)
    await sell_in(shop, NOVEMBER, images=2)

    october, november = await read(shop, "2026-10"), await read(shop, "2026-11")

    assert october.credit_applied_nanos == 3 * EURO
    assert november.credit_applied_nanos == 2 * EURO


async def test_a_draft_is_what_finalizing_the_months_before_leaves_it(
    connection: AsyncConnection, become: Become
) -> None:
    shop = await shop_since(connection, become, since=AUGUST, credit_nanos=20 * EURO)
    for month in (AUGUST, SEPTEMBER, OCTOBER):
        await sell_in(shop, month, images=3)

    draft = await read(shop, "2026-10")
    for invoice_id in ("2026-08", "2026-09"):
        await shop.finalize(invoice_id, now=NOW)
    sent = await shop.finalize("2026-10", now=NOW)

    assert draft.lines == sent.lines
    assert sent.credit_applied_nanos == 6 * EURO


async def test_a_past_month_is_settled_by_the_book_of_then(
    connection: AsyncConnection, become: Become
) -> None:
    price = replace(PRICE, minimum_per_period_nanos=5 * EURO)
    shop = await shop_since(connection, become, since=OCTOBER, price=price)
    await sell_in(shop, OCTOBER)
    await insert_price_version(
        connection,
        price_book="dearer",
        effective_time=datetime(2026, 1, 1, tzinfo=UTC),
        document=replace(PRICE, minimum_per_period_nanos=50 * EURO),
    )
    await move_to_book(shop, "dearer", at=NOVEMBER)

    october = await shop.finalize("2026-10", now=NOW)
    november = await read(shop, "2026-11")

    assert costs(october, LineKind.MINIMUM) == [3 * EURO]
    assert costs(november, LineKind.MINIMUM) == [50 * EURO]


async def test_a_book_that_was_left_again_holds_for_the_time_between(
    connection: AsyncConnection, become: Become
) -> None:
    shop = await shop_since(connection, become, since=SEPTEMBER)
    await sell_in(shop, SEPTEMBER)
    await insert_price_version(
        connection,
        price_book="discounted",
        effective_time=datetime(2026, 1, 1, tzinfo=UTC),
        document=replace(
            PRICE, discounts=(Discount(display_name="Half", rate_millionths=500_000),)
        ),
    )
    await move_to_book(shop, "discounted", at=SEPTEMBER + timedelta(days=1))
    await move_to_book(shop, shop.tenant.price_book, at=NOVEMBER)

    assert costs(await read(shop, "2026-09"), LineKind.DISCOUNT) == [-EURO]
    assert costs(await read(shop, "2026-11"), LineKind.DISCOUNT) == []


async def move_to_book(shop: Shop, price_book: str, *, at: datetime) -> None:
    """Let the operator have given the tenant another book at a time."""
    await shop.as_role("atelier_operator")
    tenant = await lock_tenant(shop.connection, shop.tenant_id)
    assert tenant is not None
    await update_tenant(shop.connection, replace(tenant, price_book=price_book))
    await shop.without_guards(
        "UPDATE tenant_price_books SET effective_time = %s"
        " WHERE tenant_id = %s AND price_book = %s AND effective_time <> '-infinity'",
        at,
        shop.tenant_id,
        price_book,
    )
