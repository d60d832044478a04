"""The tables themselves refuse what would falsify a finalized invoice."""

from typing import LiteralString

import pytest
from psycopg.errors import CheckViolation, ExclusionViolation, RestrictViolation, UniqueViolation

from tests.integration.metering.finalized.office import OCTOBER, credit, finalize, sell_in
from tests.integration.metering.shop import Shop

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
