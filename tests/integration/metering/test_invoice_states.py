"""Invoices on the real ledger: finalized once and in order, then paid, void or corrected."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import LiteralString

import pytest
from psycopg import AsyncConnection
from psycopg.errors import CheckViolation, ExclusionViolation, RestrictViolation, UniqueViolation
from psycopg.rows import TupleRow

from metering import ledger_reading
from metering.errors import (
    InvariantsViolatedError,
    InvoiceAmountError,
    InvoiceNotDueError,
    InvoiceNotFoundError,
    InvoiceOutOfOrderError,
    InvoiceStateError,
)
from metering.invariants import check_invariants
from metering.invoice_document import Invoice, InvoiceState, LineKind
from metering.invoice_settlement import create_credit_note, record_payment, void_invoice
from metering.invoices import get_invoice, list_invoices
from metering.price_document import (
    Component,
    Discount,
    PriceComponent,
    PriceDocument,
    PriceTier,
    TaxRate,
    Tier,
    TierMode,
)
from tests.integration.fixture_types import Become, Postgres
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


@pytest.fixture
async def shop(connection: AsyncConnection, become: Become) -> Shop:
    """A tenant of long ago who pays afterwards: 3 EUR of credit, the rest below zero."""
    return await long_open_shop(connection, become, tenant_id="acme-of-states")


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


async def test_a_payment_fills_the_wallet_up_to_zero_and_leaves_nothing_owed(shop: Shop) -> None:
    await sell_in(shop, OCTOBER, images=3)
    sent = await finalize(shop)

    paid = await pay(shop, sent.total_nanos)

    assert (paid.state, paid.due_nanos, paid.settle_note) == (InvoiceState.PAID, 0, "bank 4711")
    assert paid.settle_time == NOW
    assert await balances(shop) == {
        # Three of credit and what was paid.
        "FUNDING": 4_410_000_000,
        "REVENUE": -3_703_703_673,
        "TAX": -703_703_698,
        "ROUNDING": -2_592_629,
    }
    assert await violated(shop) == []


async def test_only_what_is_due_can_be_paid_and_only_once(shop: Shop) -> None:
    await sell_in(shop, OCTOBER, images=3)
    sent = await finalize(shop)

    with pytest.raises(InvoiceAmountError) as wrong:
        await pay(shop, sent.total_nanos - 1)
    await pay(shop, sent.total_nanos)
    with pytest.raises(InvoiceStateError, match="PAID"):
        await pay(shop, sent.total_nanos)
    with pytest.raises(InvoiceStateError, match="PAID"):
        await void(shop)

    assert wrong.value.due_nanos == 1_410_000_000


async def test_a_void_invoice_keeps_its_number_and_gives_everything_back(shop: Shop) -> None:
    await sell_in(shop, OCTOBER, images=3)
    await finalize(shop)

    voided = await void(shop)

    assert (voided.state, voided.invoice_number, voided.due_nanos) == (InvoiceState.VOID, 1, 0)
    assert voided.settle_note == "wrong price"
    assert await balances(shop) == {"FUNDING": 3_000_000_000, "WALLET": -3_000_000_000}
    assert await violated(shop) == []


async def test_credit_that_a_void_invoice_had_used_is_used_by_the_next_one(shop: Shop) -> None:
    await sell_in(shop, SEPTEMBER, images=3)
    await finalize(shop, "2026-09")
    await void(shop, "2026-09")
    await sell_in(shop, OCTOBER, images=2)

    sent = await finalize(shop, "2026-10")

    assert sent.invoice_number == 2
    assert sent.credit_applied_nanos == 2 * 1_234_567_891


async def test_credit_is_used_up_once(shop: Shop) -> None:
    await sell_in(shop, SEPTEMBER, images=2)
    await finalize(shop, "2026-09")
    await sell_in(shop, OCTOBER, images=2)

    sent = await finalize(shop, "2026-10")

    assert sent.credit_applied_nanos == 3_000_000_000 - 2 * 1_234_567_891


async def test_a_credit_note_lessens_what_is_due(shop: Shop) -> None:
    await sell_in(shop, OCTOBER, images=3)
    await finalize(shop)

    numbers = [await credit(shop, 200_000_000), await credit(shop, 10_000_000)]
    corrected = await read(shop)
    paid = await pay(shop, 1_200_000_000)

    assert numbers == [1, 2]
    assert corrected.due_nanos == 1_200_000_000
    # 19/119 of it, as on the invoice.
    assert [note.tax_nanos for note in corrected.credit_notes] == [31_932_773, 1_596_639]
    assert paid.state is InvoiceState.PAID
    assert (await balances(shop)).keys() == {"FUNDING", "REVENUE", "TAX", "ROUNDING"}
    assert await violated(shop) == []


async def test_a_credit_note_after_the_payment_is_money_to_send_back(shop: Shop) -> None:
    await sell_in(shop, OCTOBER, images=3)
    sent = await finalize(shop)
    await pay(shop, sent.total_nanos)

    await credit(shop, 1_190_000_000)

    after = await balances(shop)
    assert after["FUNDING"] == 4_410_000_000 - 1_190_000_000
    assert after["TAX"] == -703_703_698 + 190_000_000
    assert "WALLET" not in after
    assert await violated(shop) == []


async def test_no_more_is_credited_than_the_invoice_has_left(shop: Shop) -> None:
    await sell_in(shop, OCTOBER, images=3)
    await finalize(shop)
    await credit(shop, 1_400_000_000)

    with pytest.raises(InvoiceAmountError) as raised:
        await credit(shop, 10_000_001)

    assert raised.value.due_nanos == 10_000_000


async def test_an_invoice_with_a_credit_note_is_not_voided_and_a_void_one_not_credited(
    shop: Shop,
) -> None:
    await sell_in(shop, SEPTEMBER, images=3)
    await finalize(shop, "2026-09")
    await credit(shop, 1, "2026-09")
    await sell_in(shop, OCTOBER)
    await finalize(shop, "2026-10")
    await void(shop, "2026-10")

    with pytest.raises(InvoiceStateError, match="CREDITED"):
        await void(shop, "2026-09")
    with pytest.raises(InvoiceStateError, match="VOID"):
        await credit(shop, 1, "2026-10")


async def test_what_is_not_finalized_is_not_paid_voided_or_credited(shop: Shop) -> None:
    await sell_in(shop, OCTOBER)

    with pytest.raises(InvoiceNotFoundError):
        await pay(shop, 1)
    with pytest.raises(InvoiceNotFoundError):
        await void(shop)
    with pytest.raises(InvoiceNotFoundError):
        await credit(shop, 1)


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


CHANGES: dict[str, LiteralString] = {
    "total": "UPDATE invoices SET total_nanos = 0",
    "invoice": "DELETE FROM invoices",
    "all invoices": "TRUNCATE invoices CASCADE",
    "payment": "UPDATE invoice_settlements SET amount_nanos = 0",
    "settlement": "DELETE FROM invoice_settlements",
    "credit note": "UPDATE credit_notes SET amount_nanos = 1",
    "all credit notes": "DELETE FROM credit_notes",
    "usage of an invoice": "DELETE FROM invoiced_usage",
    "transfers of an invoice": "DELETE FROM invoice_transfers",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("role", ["atelier_owner", None])
async def test_nobody_changes_what_was_finalized_not_even_the_owner(
    shop: Shop, change: LiteralString, role: str | None
) -> None:
    await sell_in(shop, OCTOBER, images=3)
    await finalize(shop)
    await credit(shop, 1_000_000)
    # What is checked at a commit is checked now, as if there had been one.
    await shop.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    await shop.as_role(role)

    with pytest.raises(RestrictViolation, match="append-only"):
        await shop.connection.execute(change)


LATER = "billing_period_start = '2027-01-01Z', billing_period_end = '2027-02-01Z'"
BAD_ROWS: dict[str, tuple[LiteralString, type[Exception]]] = {
    "a gap in the numbers": (
        f"invoice_id = '2027-01', invoice_number = 3, {LATER}",
        RestrictViolation,
    ),
    "an overlapping period": (
        "invoice_id = '2027-01', invoice_number = 2, billing_period_end = '2027-02-01Z'",
        ExclusionViolation,
    ),
    "the same name": (f"invoice_number = 2, {LATER}", UniqueViolation),
    "another document": (
        f"invoice_id = '2027-01', invoice_number = 2, document = '{{}}', {LATER}",
        CheckViolation,
    ),
    "credit below zero": (
        f"invoice_id = '2027-01', invoice_number = 2, credit_applied_nanos = -1, {LATER}",
        CheckViolation,
    ),
}


@pytest.mark.parametrize(("changes", "error"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
async def test_the_table_itself_refuses_an_invoice_with(
    shop: Shop, changes: LiteralString, error: type[Exception]
) -> None:
    await sell_in(shop, OCTOBER)
    await finalize(shop)
    await shop.as_role(None)
    # A copy of the good row that differs in what is named.
    await shop.connection.execute("CREATE TEMP TABLE copied ON COMMIT DROP AS TABLE invoices")
    update: LiteralString = "UPDATE copied SET " + changes  # noqa: S608 - from the list above
    await shop.connection.execute(update)

    with pytest.raises(error):
        await shop.connection.execute("INSERT INTO invoices SELECT * FROM copied")


BAD_NOTES: dict[str, tuple[LiteralString, type[Exception]]] = {
    "a gap in the numbers": ("3, '2026-10', 'EUR', 100, 19, 0", RestrictViolation),
    "an amount of nothing": ("2, '2026-10', 'EUR', 0, 0, 0", CheckViolation),
    "a negative tax": ("2, '2026-10', 'EUR', 100, -1, 0", CheckViolation),
    "more tax than amount": ("2, '2026-10', 'EUR', 100, 101, 0", CheckViolation),
    "more for the wallet than amount": ("2, '2026-10', 'EUR', 100, 19, 101", CheckViolation),
}


@pytest.mark.parametrize(("values", "error"), BAD_NOTES.values(), ids=BAD_NOTES.keys())
async def test_the_table_itself_refuses_a_credit_note_with(
    shop: Shop, values: LiteralString, error: type[Exception]
) -> None:
    await sell_in(shop, OCTOBER, images=3)
    await finalize(shop)
    await credit(shop, 1)
    insert: LiteralString = (
        "INSERT INTO credit_notes SELECT %s, " + values + ", 'x', now()"  # noqa: S608 - listed above
    )

    with pytest.raises(error):
        await shop.connection.execute(insert, [shop.tenant_id])


async def test_whoever_finalizes_at_once_makes_one_invoice_and_no_image_is_lost(
    postgres: Postgres, become: Become, fresh_tenant_id: str
) -> None:
    connect = AsyncConnection[TupleRow].connect
    async with (
        await connect(postgres.admin_url) as selling,
        await connect(postgres.admin_url) as first,
        await connect(postgres.admin_url) as second,
    ):
        shop = await long_open_shop(selling, become, tenant_id=fresh_tenant_id)
        await sell_in(shop, OCTOBER, images=3)
        await selling.commit()

        async def finalize_on(connection: AsyncConnection) -> str:
            try:
                async with connection.transaction():
                    await finalize(replace(shop, connection=connection))
            except InvoiceStateError:
                return "refused"
            return "finalized"

        # It is charged in October too, and commits only when October's usage is taken already:
        # one of them then waits for the wallet, the other for the tenant.
        await sell_in(shop, OCTOBER)
        finalizing = [asyncio.create_task(finalize_on(other)) for other in (first, second)]
        await until_waiting(selling, count=2)
        await selling.commit()
        outcomes = await asyncio.gather(*finalizing)
        next_draft = await read(shop, "2026-11")

    assert sorted(outcomes) == ["finalized", "refused"]
    assert [(line.kind, line.image_count) for line in next_draft.lines if line.component] == [
        (LineKind.ADJUSTMENT, 1)
    ]


async def until_waiting(connection: AsyncConnection, *, count: int) -> None:
    """Return when so many others wait for a lock."""
    await connection.execute("RESET ROLE")
    while True:
        row = await (
            await connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            )
        ).fetchone()
        if row == (count,):
            return
        await asyncio.sleep(0.05)
