"""Finalized invoices in the database, with what happened to them since.

Whoever writes here has locked the tenant's row: numbers follow one another without a gap.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from database.queries import load_queries
from database.rows import typed_row
from metering.invoice_document import (
    CreditNote,
    Invoice,
    InvoiceState,
    from_json,
    to_canonical_json,
)
from tenants.ids import TenantId

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceDues:
    """What is left of an invoice: owed through the wallet, and beside it (tax, rounding)."""

    currency: str
    wallet_nanos: int
    receivable_nanos: int
    settled_state: InvoiceState | None

    @property
    def total_nanos(self) -> int:
        return self.wallet_nanos + self.receivable_nanos


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCreditNote:
    """A correction to be: its tax, and what goes to the wallet since the invoice is not paid."""

    invoice_id: str
    currency: str
    amount_nanos: int
    tax_nanos: int
    wallet_nanos: int
    reason: str
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    document: str
    state: InvoiceState | None
    settle_time: datetime | None
    settle_note: str
    credit_notes: tuple[CreditNote, ...]


async def get_stored(
    conn: AsyncConnection, *, tenant_id: TenantId, invoice_id: str
) -> Invoice | None:
    """Read an invoice as it was sent, with its state of now; None when it is not finalized."""
    async with conn.cursor(row_factory=typed_row(_Stored)) as cursor:
        await cursor.execute(
            _QUERIES["get_stored"], {"tenant_id": tenant_id, "invoice_id": invoice_id}
        )
        stored = await cursor.fetchone()
    if stored is None:
        return None
    return replace(
        from_json(stored.document),
        state=stored.state or InvoiceState.FINALIZED,
        settle_time=stored.settle_time,
        settle_note=stored.settle_note,
        credit_notes=stored.credit_notes,
    )


async def get_previous_id(
    conn: AsyncConnection,
    *,
    tenant_id: TenantId,
    time_zone: str,
    before_id: str,
    before_time: datetime,
    since_time: datetime,
) -> str | None:
    """Find the newest invoice before one: finalized, or a month whose usage waits for its own."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            _QUERIES["get_previous_id"],
            {
                "tenant_id": tenant_id,
                "time_zone": time_zone,
                "before_id": before_id,
                "before_time": before_time,
                "since_time": since_time,
            },
        )
        invoice_id: str | None = await cursor.fetchone()
    return invoice_id


async def store_invoice(conn: AsyncConnection, draft: Invoice, *, wallet_due_nanos: int) -> Invoice:
    """Give a draft its number and write it down, for good."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["next_invoice_number"], {"tenant_id": draft.tenant_id})
        number: int | None = await cursor.fetchone()
    assert number is not None, "an aggregate gives a row"
    invoice = replace(draft, state=InvoiceState.FINALIZED, invoice_number=number)
    await conn.execute(
        _QUERIES["insert_invoice"],
        {
            "tenant_id": invoice.tenant_id,
            "invoice_id": invoice.invoice_id,
            "invoice_number": number,
            "billing_period_start": invoice.billing_period_start,
            "billing_period_end": invoice.billing_period_end,
            "currency": invoice.currency,
            "document": to_canonical_json(invoice),
            "total_nanos": invoice.total_nanos,
            "wallet_due_nanos": wallet_due_nanos,
            "credit_applied_nanos": invoice.credit_applied_nanos,
            "finalize_time": invoice.issue_time,
        },
    )
    return invoice


async def get_dues(
    conn: AsyncConnection, *, tenant_id: TenantId, invoice_id: str
) -> InvoiceDues | None:
    """Read what is left of an invoice; None when it is not finalized."""
    async with conn.cursor(row_factory=typed_row(InvoiceDues)) as cursor:
        await cursor.execute(
            _QUERIES["get_dues"], {"tenant_id": tenant_id, "invoice_id": invoice_id}
        )
        return await cursor.fetchone()


async def settle(
    conn: AsyncConnection,
    *,
    tenant_id: TenantId,
    invoice_id: str,
    state: InvoiceState,
    amount_nanos: int,
    settle_time: datetime,
    note: str,
) -> None:
    """Write down that an invoice was paid or is void."""
    await conn.execute(
        _QUERIES["insert_settlement"],
        {
            "tenant_id": tenant_id,
            "invoice_id": invoice_id,
            "state": state,
            "amount_nanos": amount_nanos,
            "settle_time": settle_time,
            "note": note,
        },
    )


async def insert_credit_note(
    conn: AsyncConnection, *, tenant_id: TenantId, note: NewCreditNote
) -> CreditNote:
    """Number a correction and write it down."""
    async with conn.cursor(row_factory=typed_row(CreditNote)) as cursor:
        await cursor.execute(
            _QUERIES["insert_credit_note"],
            {
                "tenant_id": tenant_id,
                "invoice_id": note.invoice_id,
                "currency": note.currency,
                "amount_nanos": note.amount_nanos,
                "tax_nanos": note.tax_nanos,
                "wallet_nanos": note.wallet_nanos,
                "reason": note.reason,
                "create_time": note.create_time,
            },
        )
        stored = await cursor.fetchone()
    assert stored is not None, "INSERT … RETURNING gives a row or raises"
    return stored
