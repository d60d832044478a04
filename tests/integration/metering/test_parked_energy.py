"""A worker that waits takes energy: its tenant's where the price says so, else the operator's."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import AsyncConnection

from metering.errors import InvoiceOutOfOrderError
from metering.invariants import check_invariants
from metering.invoice_document import Invoice, InvoiceState, LineKind
from metering.invoice_settlement import record_payment, void_invoice
from metering.invoices import get_invoice
from metering.price_document import Component, PriceComponent, PriceDocument, TaxRate, Tier
from tests.integration.fixture_types import Become
from tests.integration.metering.shop import ISSUER, Shop, open_shop

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SEPTEMBER = datetime(2026, 9, 10, tzinfo=UTC)
OCTOBER = datetime(2026, 10, 10, tzinfo=UTC)
EURO = 1_000_000_000
KWH = 3_600_000_000
# 2 EUR an image, 0.25 EUR a kWh of waiting, and 20 %.
PRICE = PriceDocument(
    currency="EUR",
    components=(PriceComponent(kind=Component.PER_IMAGE, unit_price_nanos=2 * EURO),),
    tax_rates=(TaxRate(display_name="VAT 20 %", rate_millionths=200_000),),
    parked_kwh_price_nanos=250_000_000,
)


async def shop_at(
    connection: AsyncConnection,
    become: Become,
    price: PriceDocument = PRICE,
    *,
    since: datetime = OCTOBER,
) -> Shop:
    """A tenant at one price for good that has sold one image in October."""
    shop = await open_shop(connection, become, tenant_id="acme-of-parking", price=price)
    await shop.without_guards(
        "UPDATE price_versions SET effective_time = '2026-01-01Z' WHERE price_book = %s",
        shop.tenant_id,
    )
    await shop.grant_early(since)
    await shop.open_since(since)
    await shop.move_charges(await shop.sell(tier=Tier.INTERACTIVE), OCTOBER)
    return replace(shop, tenant=replace(shop.tenant, create_time=since))


async def park(
    shop: Shop, millijoules: int, *, hour: datetime = OCTOBER, source: str = "NVML_COUNTER"
) -> None:
    await shop.without_guards("INSERT INTO gpus (gpu_id) VALUES ('g0') ON CONFLICT DO NOTHING")
    await shop.without_guards(
        "INSERT INTO parked_hours VALUES (%s, 'g0', %s, %s, %s)",
        shop.tenant_id,
        hour,
        source,
        millijoules,
    )


async def read(shop: Shop, invoice_id: str = "2026-10") -> Invoice:
    await shop.as_role("atelier_gateway")
    return await get_invoice(
        shop.connection, shop.tenant, invoice_id=invoice_id, issuer=ISSUER, now=NOW
    )


def parked_nanos(invoice: Invoice) -> list[int]:
    return [line.billed_cost_nanos for line in invoice.lines if line.kind is LineKind.PARKED_ENERGY]


async def violated(shop: Shop) -> list[str]:
    await shop.as_role("atelier_operator")
    counts = await check_invariants(shop.connection, tenant_id=shop.tenant_id)
    return [name for name, count in counts.items() if count]


async def booked(shop: Shop) -> list[tuple[str, str, int]]:
    cursor = await shop.connection.execute(
        "SELECT debit_account, credit_account, amount_nanos FROM transfers"
        " WHERE tenant_id = %s AND reason = 'PARKED_ENERGY'",
        [shop.tenant_id],
    )
    return [(debit, credit, amount) for debit, credit, amount in await cursor.fetchall()]


async def test_waiting_is_a_line_of_its_own_that_is_taxed_and_owed_beside_the_wallet(
    connection: AsyncConnection, become: Become
) -> None:
    shop = await shop_at(connection, become)
    await park(shop, 2 * KWH)

    draft = await read(shop)
    sent = await shop.finalize("2026-10", now=NOW)

    assert sent.lines == draft.lines
    assert [(line.kind, line.billed_cost_nanos) for line in sent.lines] == [
        (LineKind.USAGE, 2 * EURO),
        (LineKind.PARKED_ENERGY, 500_000_000),
        (LineKind.TAX, 500_000_000),
        (LineKind.CREDIT_APPLIED, -2 * EURO),
    ]
    (line,) = [line for line in sent.lines if line.kind is LineKind.PARKED_ENERGY]
    assert (line.consumed_quantity, line.consumed_unit, line.list_unit_price_nanos) == (
        2,
        "kWh",
        250_000_000,
    )
    assert await booked(shop) == [("RECEIVABLE", "REVENUE", 500_000_000)]
    assert await violated(shop) == []


async def test_what_was_charged_for_waiting_can_be_paid_or_void(
    connection: AsyncConnection, become: Become
) -> None:
    shop = await shop_at(connection, become, since=SEPTEMBER)
    await park(shop, KWH, hour=SEPTEMBER)
    await park(shop, KWH)
    september = await shop.finalize("2026-09", now=NOW)
    await shop.finalize("2026-10", now=NOW)

    voided = await void_invoice(
        connection,
        tenant_id=shop.tenant_id,
        invoice_id="2026-10",
        reason="wrong price",
        now=NOW,
    )
    paid = await record_payment(
        connection,
        tenant_id=shop.tenant_id,
        invoice_id="2026-09",
        amount_nanos=september.total_nanos,
        payment_time=NOW,
        reference="",
    )

    assert september.total_nanos == 300_000_000
    assert (paid.state, voided.state) == (InvoiceState.PAID, InvoiceState.VOID)
    assert await violated(shop) == []


async def test_the_operator_carries_waiting_that_the_price_does_not_charge(
    connection: AsyncConnection, become: Become
) -> None:
    shop = await shop_at(connection, become, replace(PRICE, parked_kwh_price_nanos=0))
    await park(shop, 2 * KWH)

    assert parked_nanos(await shop.finalize("2026-10", now=NOW)) == []


@pytest.mark.parametrize(("charged", "nanos"), [(False, 250_000_000), (True, 1_000_000_000)])
async def test_estimates_are_charged_only_where_the_price_says_so(
    connection: AsyncConnection, become: Become, *, charged: bool, nanos: int
) -> None:
    shop = await shop_at(connection, become, replace(PRICE, charge_estimated_energy=charged))
    await park(shop, KWH)
    await park(shop, 3 * KWH, source="ESTIMATED")

    assert parked_nanos(await read(shop)) == [nanos]


async def test_an_hour_is_of_the_month_it_begins_in_on_the_tenants_clock(
    connection: AsyncConnection, become: Become
) -> None:
    shop = await shop_at(connection, become)
    # November begins at 23:00 UTC in Berlin.
    november = datetime(2026, 10, 31, 23, tzinfo=UTC)
    await park(shop, KWH, hour=november - timedelta(hours=1))
    await park(shop, 2 * KWH, hour=november)

    assert parked_nanos(await read(shop, "2026-10")) == [250_000_000]
    assert parked_nanos(await read(shop, "2026-11")) == [500_000_000]


async def test_a_month_in_which_workers_only_waited_is_not_passed_over(
    connection: AsyncConnection, become: Become
) -> None:
    shop = await shop_at(connection, become, since=SEPTEMBER)
    await park(shop, KWH, hour=SEPTEMBER)

    with pytest.raises(InvoiceOutOfOrderError) as refused:
        await shop.finalize("2026-10", now=NOW)
    september = await shop.finalize("2026-09", now=NOW)

    assert refused.value.other_id == "2026-09"
    assert parked_nanos(september) == [250_000_000]


async def test_no_other_tenants_waiting_is_charged(
    connection: AsyncConnection, become: Become
) -> None:
    shop = await shop_at(connection, become)
    await park(shop, KWH)
    await shop.without_guards(
        "INSERT INTO parked_hours VALUES ('zeta', 'g0', %s, 'NVML_COUNTER', %s)", OCTOBER, KWH
    )

    assert parked_nanos(await read(shop)) == [250_000_000]
    assert parked_nanos(await shop.finalize("2026-10", now=NOW)) == [250_000_000]
