"""A studio that has been open for long, and what its operator does with its invoices."""

from dataclasses import replace
from datetime import UTC, datetime

from psycopg import AsyncConnection

from metering import ledger_reading
from metering.invariants import check_invariants
from metering.invoice_document import Invoice
from metering.invoice_settlement import create_credit_note, record_payment, void_invoice
from metering.invoices import get_invoice
from metering.price_document import (
    Component,
    PriceComponent,
    PriceDocument,
    TaxRate,
    Tier,
)
from tests.integration.fixture_types import Become
from tests.integration.metering.shop import ISSUER, Shop, open_shop

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SEPTEMBER = datetime(2026, 9, 10, tzinfo=UTC)
OCTOBER = datetime(2026, 10, 10, tzinfo=UTC)
# 1.234567891 EUR an image, and 19 %.
PRICE = PriceDocument(
    currency="EUR",
    components=(PriceComponent(kind=Component.PER_IMAGE, unit_price_nanos=1_234_567_891),),
    tax_rates=(TaxRate(display_name="VAT 19 %", rate_millionths=190_000),),
)


async def long_open_shop(
    connection: AsyncConnection,
    become: Become,
    *,
    tenant_id: str,
    price: PriceDocument = PRICE,
) -> Shop:
    shop = await open_shop(
        connection, become, tenant_id=tenant_id, price=price, credit_nanos=3_000_000_000
    )
    await shop.without_guards(
        "UPDATE price_versions SET effective_time = '2026-01-01Z' WHERE price_book = %s", tenant_id
    )
    await shop.grant_early(datetime(2026, 1, 1, tzinfo=UTC))
    await shop.open_since(datetime(2026, 1, 1, tzinfo=UTC))
    await shop.without_guards(
        "UPDATE accounts SET credit_limit_nanos = 100000000000 "
        "WHERE tenant_id = %s AND kind = 'WALLET'",
        shop.tenant_id,
    )
    return replace(shop, tenant=replace(shop.tenant, create_time=datetime(2026, 1, 1, tzinfo=UTC)))


async def sell_in(shop: Shop, month: datetime, *, images: int = 1) -> None:
    await shop.move_charges(await shop.sell(images=images, tier=Tier.INTERACTIVE), month)


async def finalize(shop: Shop, invoice_id: str = "2026-10", *, now: datetime = NOW) -> Invoice:
    return await shop.finalize(invoice_id, now=now)


async def read(shop: Shop, invoice_id: str = "2026-10") -> Invoice:
    await shop.as_role("atelier_gateway")
    return await get_invoice(
        shop.connection, shop.tenant, invoice_id=invoice_id, issuer=ISSUER, now=NOW
    )


async def pay(shop: Shop, amount_nanos: int, invoice_id: str = "2026-10") -> Invoice:
    await shop.as_role("atelier_operator")
    return await record_payment(
        shop.connection,
        tenant_id=shop.tenant_id,
        invoice_id=invoice_id,
        amount_nanos=amount_nanos,
        payment_time=NOW,
        reference="bank 4711",
    )


async def void(shop: Shop, invoice_id: str = "2026-10") -> Invoice:
    await shop.as_role("atelier_operator")
    return await void_invoice(
        shop.connection,
        tenant_id=shop.tenant_id,
        invoice_id=invoice_id,
        reason="wrong price",
        now=NOW,
    )


async def credit(shop: Shop, amount_nanos: int, invoice_id: str = "2026-10") -> int:
    await shop.as_role("atelier_operator")
    note = await create_credit_note(
        shop.connection,
        tenant_id=shop.tenant_id,
        invoice_id=invoice_id,
        amount_nanos=amount_nanos,
        reason="ten blurred pictures",
        now=NOW,
    )
    return note.credit_note_number


async def wallet_nanos(shop: Shop) -> int:
    """What lies in the wallet; below zero where the tenant pays afterwards."""
    balance = await ledger_reading.get_balance(
        shop.connection, tenant_id=shop.tenant_id, currency="EUR"
    )
    assert balance is not None
    return balance.credited_nanos - balance.spent_nanos


async def balances(shop: Shop) -> dict[str, int]:
    """What was debited less what was credited, by account; accounts without either left out."""
    await shop.as_role("atelier_operator")
    rows = await (
        await shop.connection.execute(
            "SELECT kind, debits_posted - credits_posted FROM accounts WHERE tenant_id = %s",
            [shop.tenant_id],
        )
    ).fetchall()
    return {kind: balance for kind, balance in rows if balance}


async def violated(shop: Shop) -> list[str]:
    await shop.as_role("atelier_operator")
    return [name for name, count in (await check_invariants(shop.connection)).items() if count]
