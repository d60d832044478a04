"""What happens to a finalized invoice: it is paid, void, or corrected by credit notes.

The caller has locked the tenant.
"""

from datetime import datetime

from database.pool import Connection
from metering.errors import InvoiceAmountError, InvoiceNotFoundError, InvoiceStateError
from metering.invoice_document import CreditNote, Invoice, InvoiceState
from metering.invoice_store import (
    InvoiceDues,
    NewCreditNote,
    get_dues,
    get_stored,
    insert_credit_note,
    settle,
)
from metering.invoice_transfers import Booking, book, crediting, paying, voiding
from metering.money import divide_half_even
from tenants.ids import TenantId


async def record_payment(
    conn: Connection,
    *,
    tenant_id: TenantId,
    invoice_id: str,
    amount_nanos: int,
    payment_time: datetime,
    reference: str,
) -> Invoice:
    """Note that an invoice was paid: all that was left of it, at once.

    Raises:
        InvoiceNotFoundError: there is none that is finalized.
        InvoiceStateError: it is paid already, or void.
        InvoiceAmountError: it is not what is left of it.
    """
    dues = await _open_dues(conn, tenant_id=tenant_id, invoice_id=invoice_id)
    if amount_nanos != dues.total_nanos:
        raise InvoiceAmountError(invoice_id, due_nanos=dues.total_nanos, currency=dues.currency)
    await settle(
        conn,
        tenant_id=tenant_id,
        invoice_id=invoice_id,
        state=InvoiceState.PAID,
        amount_nanos=amount_nanos,
        settle_time=payment_time,
        note=reference,
    )
    bookings = paying(
        wallet_nanos=dues.wallet_nanos,
        receivable_nanos=dues.receivable_nanos,
        description=f"Payment of {invoice_id}",
    )
    return await _book(conn, bookings, tenant_id=tenant_id, invoice_id=invoice_id)


async def void_invoice(
    conn: Connection, *, tenant_id: TenantId, invoice_id: str, reason: str, now: datetime
) -> Invoice:
    """Make an invoice void: it keeps its number and its usage, and nobody owes anything for it.

    Raises:
        InvoiceNotFoundError: there is none that is finalized.
        InvoiceStateError: it is paid, void already, or has credit notes.
    """
    await _open_dues(conn, tenant_id=tenant_id, invoice_id=invoice_id)
    invoice = await _stored(conn, tenant_id=tenant_id, invoice_id=invoice_id)
    if invoice.credit_notes:
        raise InvoiceStateError(invoice_id, state="CREDITED")
    await settle(
        conn,
        tenant_id=tenant_id,
        invoice_id=invoice_id,
        state=InvoiceState.VOID,
        amount_nanos=invoice.total_nanos,
        settle_time=now,
        note=reason,
    )
    bookings = voiding(invoice, description=f"{invoice_id} is void")
    return await _book(conn, bookings, tenant_id=tenant_id, invoice_id=invoice_id)


async def create_credit_note(
    conn: Connection,
    *,
    tenant_id: TenantId,
    invoice_id: str,
    amount_nanos: int,
    reason: str,
    now: datetime,
) -> CreditNote:
    """Correct a finalized or paid invoice by an amount that includes its share of the tax.

    Raises:
        InvoiceNotFoundError: there is none that is finalized.
        InvoiceStateError: it is void.
        InvoiceAmountError: the amount is more than the invoice has left.
    """
    invoice = await _stored(conn, tenant_id=tenant_id, invoice_id=invoice_id)
    if invoice.state is InvoiceState.VOID:
        raise InvoiceStateError(invoice_id, state=invoice.state)
    left_nanos = invoice.total_nanos - sum(note.amount_nanos for note in invoice.credit_notes)
    if amount_nanos > left_nanos:
        raise InvoiceAmountError(invoice_id, due_nanos=left_nanos, currency=invoice.currency)
    dues = await get_dues(conn, tenant_id=tenant_id, invoice_id=invoice_id)
    assert dues is not None, "it is stored"
    is_paid = invoice.state is InvoiceState.PAID
    tax_nanos = _tax_share(invoice, amount_nanos)
    # What is owed through the wallet is forgiven first: it frees the tenant's credit.
    wallet_nanos = 0 if is_paid else max(0, min(amount_nanos, dues.wallet_nanos))
    note = await insert_credit_note(
        conn,
        tenant_id=tenant_id,
        note=NewCreditNote(
            invoice_id=invoice_id,
            currency=invoice.currency,
            amount_nanos=amount_nanos,
            tax_nanos=tax_nanos,
            wallet_nanos=wallet_nanos,
            reason=reason,
            create_time=now,
        ),
    )
    bookings = crediting(
        net_nanos=amount_nanos - tax_nanos,
        tax_nanos=tax_nanos,
        wallet_nanos=wallet_nanos,
        is_paid=is_paid,
        description=f"Credit note {note.credit_note_number} for {invoice_id}",
    )
    await _book(conn, bookings, tenant_id=tenant_id, invoice_id=invoice_id)
    return note


def _tax_share(invoice: Invoice, amount_nanos: int) -> int:
    """The tax within a gross amount, in the proportion of the whole invoice."""
    gross_nanos = invoice.subtotal_nanos + invoice.tax_nanos
    if gross_nanos <= 0:
        return 0
    return divide_half_even(amount_nanos * invoice.tax_nanos, gross_nanos)


async def _open_dues(conn: Connection, *, tenant_id: TenantId, invoice_id: str) -> InvoiceDues:
    dues = await get_dues(conn, tenant_id=tenant_id, invoice_id=invoice_id)
    if dues is None:
        raise InvoiceNotFoundError(invoice_id)
    if dues.settled_state is not None:
        raise InvoiceStateError(invoice_id, state=dues.settled_state)
    return dues


async def _book(
    conn: Connection, bookings: list[Booking], *, tenant_id: TenantId, invoice_id: str
) -> Invoice:
    invoice = await _stored(conn, tenant_id=tenant_id, invoice_id=invoice_id)
    await book(
        conn, bookings, tenant_id=tenant_id, invoice_id=invoice_id, currency=invoice.currency
    )
    return invoice


async def _stored(conn: Connection, *, tenant_id: TenantId, invoice_id: str) -> Invoice:
    invoice = await get_stored(conn, tenant_id=tenant_id, invoice_id=invoice_id)
    if invoice is None:
        raise InvoiceNotFoundError(invoice_id)
    return invoice
