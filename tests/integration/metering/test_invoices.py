"""Invoices from the real ledger: drafts to the last nano, months of the tenant's clock."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from metering.errors import CurrencyMixError, InvoiceNotFoundError, LedgerMismatchError
from metering.invoice_document import (
    Invoice,
    InvoiceState,
    LineKind,
)
from metering.invoices import get_invoice, list_invoices
from metering.periods import BillingPeriod
from metering.price_document import Component
from tests.integration.fixture_types import Become, Postgres
from tests.integration.metering.shop import ISSUER, Shop, open_shop

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 10, tzinfo=UTC)


@pytest.fixture
async def shop(connection: AsyncConnection, become: Become) -> Shop:
    shop = await open_shop(connection, become, tenant_id="acme-of-invoices")
    await shop.grant_early(datetime(2026, 1, 1, tzinfo=UTC))
    # It has been there for long, so that earlier months are its own.
    return replace(shop, tenant=replace(shop.tenant, create_time=datetime(2026, 1, 1, tzinfo=UTC)))


async def invoice_of(shop: Shop, invoice_id: str = "2026-11") -> Invoice:
    await shop.as_role("atelier_gateway")
    return await get_invoice(
        shop.connection, shop.tenant, invoice_id=invoice_id, issuer=ISSUER, now=NOW
    )


async def sell_in_november(shop: Shop, *, images: int = 1) -> None:
    await shop.move_charges(await shop.sell(images=images), NOVEMBER)


async def test_a_draft_is_the_usage_of_its_month_with_tax_and_rounding(shop: Shop) -> None:
    await sell_in_november(shop, images=3)

    invoice = await invoice_of(shop)

    assert invoice.state is InvoiceState.DRAFT
    assert invoice.invoice_number is None
    assert [(line.kind, line.component, line.billed_cost_nanos) for line in invoice.lines] == [
        (LineKind.USAGE, Component.PER_IMAGE, 1_500_000),
        (LineKind.USAGE, Component.PER_GPU_SECOND, 750_000),
        (LineKind.USAGE, Component.PER_KWH, 936),
        (LineKind.TAX, None, 427_678),
        (LineKind.CREDIT_APPLIED, None, -2_250_936),
        (LineKind.ROUNDING, None, -427_678),
    ]
    assert invoice.subtotal_nanos == 3 * 750_312
    assert sum(line.billed_cost_nanos for line in invoice.lines) == invoice.total_nanos == 0
    assert invoice.image_count == 3
    assert [(part.energy_source, part.energy_millijoules) for part in invoice.energy] == [
        ("ESTIMATED", 27_000)
    ]
    assert [image.price_nanos for image in invoice.images] == [750_312] * 3
    assert invoice.buyer.legal_name == "ACME Kitchenware B.V."
    assert invoice.seller == ISSUER.seller


async def test_what_failed_is_counted_and_costs_nothing(shop: Shop) -> None:
    await sell_in_november(shop)
    before = await invoice_of(shop)
    image_id = await shop.fail()
    await shop.without_guards(
        "UPDATE usage_records SET charge_time = %s WHERE image_id = %s", NOVEMBER, image_id
    )

    after = await invoice_of(shop)

    assert (after.image_count, after.failed_image_count) == (1, 1)
    assert after.lines == before.lines


async def test_a_month_ends_at_the_tenants_midnight(shop: Shop) -> None:
    october = await shop.sell()
    await shop.move_charges(october, datetime(2026, 10, 31, 22, 59, 59, tzinfo=UTC))
    november = await shop.sell(images=2)
    await shop.move_charges(november, datetime(2026, 10, 31, 23, tzinfo=UTC))

    assert (await invoice_of(shop, "2026-10")).image_count == 1
    assert (await invoice_of(shop, "2026-11")).image_count == 2


async def test_a_capped_price_is_on_the_invoice_as_it_was_charged(shop: Shop) -> None:
    job_id = await shop.accept()
    await shop.draw(await shop.claim(), gpu_seconds=1000.0)
    await shop.move_charges(job_id, NOVEMBER)

    invoice = await invoice_of(shop)

    caps = [line for line in invoice.lines if line.component is Component.CAP]
    assert invoice.subtotal_nanos == 500_001 + 1_666_665 + 347_223
    assert [line.list_unit_price_nanos for line in caps] == [None]


async def test_a_month_without_usage_is_an_empty_draft(shop: Shop) -> None:
    invoice = await invoice_of(shop)

    assert invoice.lines == ()
    assert invoice.total_nanos == 0


@pytest.mark.parametrize("invoice_id", ["2026-12", "2025-12", "2026-13", "nonsense", ""])
async def test_a_period_outside_of_the_tenants_life_is_not_found(
    shop: Shop, invoice_id: str
) -> None:
    with pytest.raises(InvoiceNotFoundError):
        await invoice_of(shop, invoice_id)


async def test_nothing_is_invoiced_while_captures_and_usage_differ(shop: Shop) -> None:
    await sell_in_november(shop)
    await shop.without_guards(
        "UPDATE transfers SET amount_nanos = 1 WHERE kind = 'POST' AND tenant_id = %s",
        shop.tenant_id,
    )

    with pytest.raises(LedgerMismatchError):
        await invoice_of(shop)


async def test_nothing_is_invoiced_while_lines_and_price_differ(shop: Shop) -> None:
    await sell_in_november(shop)
    await shop.without_guards(
        "DELETE FROM usage_lines WHERE tenant_id = %s AND line_number = 1", shop.tenant_id
    )

    with pytest.raises(LedgerMismatchError):
        await invoice_of(shop)


async def test_a_capture_without_usage_is_not_overlooked(shop: Shop) -> None:
    await sell_in_november(shop)
    await shop.without_guards("DELETE FROM usage_lines WHERE tenant_id = %s", shop.tenant_id)
    await shop.without_guards("DELETE FROM usage_records WHERE tenant_id = %s", shop.tenant_id)

    with pytest.raises(LedgerMismatchError):
        await invoice_of(shop)


async def test_a_price_in_another_currency_is_not_added_up(shop: Shop) -> None:
    await sell_in_november(shop)
    dollars = replace(shop, tenant=replace(shop.tenant, currency="USD"))

    with pytest.raises(CurrencyMixError):
        await invoice_of(dollars)


async def test_invoices_are_listed_newest_first_page_by_page(shop: Shop) -> None:
    for month in (3, 9, 10):
        await shop.move_charges(await shop.sell(), datetime(2026, month, 10, tzinfo=UTC))
    await shop.as_role("atelier_gateway")

    first = await list_invoices(shop.connection, shop.tenant, issuer=ISSUER, now=NOW, limit=2)
    rest = await list_invoices(
        shop.connection,
        shop.tenant,
        issuer=ISSUER,
        now=NOW,
        limit=2,
        before=first[-1].invoice_id,
    )

    assert [invoice.invoice_id for invoice in [*first, *rest]] == [
        # The running month is there although nothing was drawn in it yet.
        "2026-11",
        "2026-10",
        "2026-09",
        "2026-03",
    ]


async def test_a_draft_read_while_images_are_charged_always_agrees_with_the_ledger(
    postgres: Postgres, become: Become, fresh_tenant_id: str
) -> None:
    drafts: list[Invoice] = []
    async with (
        await AsyncConnection[TupleRow].connect(postgres.admin_url) as selling,
        await AsyncConnection[TupleRow].connect(postgres.admin_url) as reading,
    ):
        shop = await open_shop(selling, become, tenant_id=fresh_tenant_id)
        await selling.commit()
        seller = asyncio.create_task(_sell_one_by_one(shop, images=20))
        while not seller.done():
            drafts.append(await _draft_of_now(replace(shop, connection=reading)))
            await reading.commit()
        await seller

    # A draft whose parts were read at different instants would have raised LedgerMismatchError.
    counts = [draft.image_count for draft in drafts]
    assert counts == sorted(counts)
    assert any(0 < count < 20 for count in counts)


async def _sell_one_by_one(shop: Shop, *, images: int) -> None:
    for _ in range(images):
        await shop.sell()
        await shop.connection.commit()


async def _draft_of_now(shop: Shop) -> Invoice:
    now = datetime.now(UTC)
    period = BillingPeriod.containing(now, time_zone=shop.tenant.time_zone)
    await shop.as_role("atelier_gateway")
    return await get_invoice(
        shop.connection, shop.tenant, invoice_id=period.invoice_id, issuer=ISSUER, now=now
    )
