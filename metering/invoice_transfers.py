"""What finalizing, paying, voiding and correcting an invoice moves in the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from metering import ledger
from metering.invoice_document import Invoice, InvoiceLine, LineKind
from metering.invoice_totals import InvoiceTotals
from tenants.ids import TenantId

_QUERIES: Final = load_queries(__file__)
_PERIOD_ENDS: Final = frozenset(
    {LineKind.VOLUME_TIER, LineKind.DISCOUNT, LineKind.PARKED_ENERGY, LineKind.MINIMUM}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """Money from one account to another; a negative amount goes the other way."""

    debit_account: str
    credit_account: str
    amount_nanos: int
    reason: str
    description: str


def finalizing(totals: InvoiceTotals) -> list[Booking]:
    """What the period's end adds to the captures: it is owed beside the wallet.

    What it takes off goes back to the wallet. With the captures of the invoice's images they make
    its total before prepaid credit.
    """
    ends = [_period_end(line) for line in totals.lines if line.kind in _PERIOD_ENDS]
    taxes = [
        Booking(
            debit_account="RECEIVABLE",
            credit_account="TAX",
            amount_nanos=line.billed_cost_nanos,
            reason="TAX",
            description=line.description,
        )
        for line in totals.lines
        if line.kind is LineKind.TAX
    ]
    rounding = Booking(
        debit_account="RECEIVABLE",
        credit_account="ROUNDING",
        amount_nanos=totals.rounding_nanos,
        reason="ROUNDING",
        description="Rounding to the minor unit",
    )
    return [*ends, *taxes, rounding]


def paying(*, wallet_nanos: int, receivable_nanos: int, description: str) -> list[Booking]:
    """What a payment brings: the wallet is filled up to zero again, and nothing is owed beside."""
    parts = {"WALLET": wallet_nanos, "RECEIVABLE": receivable_nanos}
    return [
        Booking(
            debit_account="FUNDING",
            credit_account=account,
            amount_nanos=amount_nanos,
            reason="PAYMENT",
            description=description,
        )
        for account, amount_nanos in parts.items()
    ]


def _period_end(line: InvoiceLine) -> Booking:
    is_added = line.billed_cost_nanos > 0
    return Booking(
        debit_account="RECEIVABLE" if is_added else "WALLET",
        credit_account="REVENUE",
        amount_nanos=line.billed_cost_nanos,
        reason=line.kind,
        description=line.description,
    )


def voiding(invoice: Invoice, *, description: str) -> list[Booking]:
    """Give everything back that the invoice stands for, by compensation."""
    added_nanos = sum(
        max(0, line.billed_cost_nanos) for line in invoice.lines if line.kind in _PERIOD_ENDS
    )
    parts = (
        ("REVENUE", "WALLET", invoice.subtotal_nanos - added_nanos),
        ("REVENUE", "RECEIVABLE", added_nanos),
        ("TAX", "RECEIVABLE", invoice.tax_nanos),
        ("ROUNDING", "RECEIVABLE", invoice.rounding_nanos),
    )
    return [
        Booking(
            debit_account=debit_account,
            credit_account=credit_account,
            amount_nanos=amount_nanos,
            reason="INVOICE_VOID",
            description=description,
        )
        for debit_account, credit_account, amount_nanos in parts
    ]


def crediting(
    *, net_nanos: int, tax_nanos: int, wallet_nanos: int, is_paid: bool, description: str
) -> list[Booking]:
    """Take a correction back from revenue and tax.

    Before the payment it lessens what the wallet (``wallet_nanos`` of it) and the receivable wait
    for; after it, it is money to send back.
    """
    beside = "FUNDING" if is_paid else "RECEIVABLE"
    net_to_wallet = min(net_nanos, wallet_nanos)
    parts = (
        ("REVENUE", "WALLET", net_to_wallet),
        ("REVENUE", beside, net_nanos - net_to_wallet),
        ("TAX", "WALLET", wallet_nanos - net_to_wallet),
        ("TAX", beside, tax_nanos - (wallet_nanos - net_to_wallet)),
    )
    return [
        Booking(
            debit_account=debit_account,
            credit_account=credit_account,
            amount_nanos=amount_nanos,
            reason="CREDIT_NOTE",
            description=description,
        )
        for debit_account, credit_account, amount_nanos in parts
    ]


async def book(
    conn: AsyncConnection,
    bookings: Sequence[Booking],
    *,
    tenant_id: TenantId,
    invoice_id: str,
    currency: str,
) -> None:
    """Book an invoice's transfers in the order given; nothing is booked for an amount of zero."""
    transfer_ids = [
        await _book_one(conn, booking, tenant_id=tenant_id, currency=currency)
        for booking in bookings
        if booking.amount_nanos
    ]
    await conn.execute(
        _QUERIES["note_transfers"],
        {"tenant_id": tenant_id, "invoice_id": invoice_id, "transfer_ids": transfer_ids},
    )


async def _book_one(
    conn: AsyncConnection, booking: Booking, *, tenant_id: TenantId, currency: str
) -> int:
    debit_account, credit_account = booking.debit_account, booking.credit_account
    if booking.amount_nanos < 0:
        debit_account, credit_account = credit_account, debit_account
    transfer = await ledger.book_single(
        conn,
        tenant_id=tenant_id,
        debit_account=debit_account,
        credit_account=credit_account,
        amount_nanos=abs(booking.amount_nanos),
        currency=currency,
        reason=booking.reason,
        description=booking.description,
    )
    return transfer.transfer_id
