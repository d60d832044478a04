"""`atelier admin invoices …`: from draft to paid, void or corrected."""

from datetime import datetime

import click

from atelier.cli.columns import CREDIT_NOTE_COLUMNS, INVOICE_COLUMNS
from atelier.cli.session import Session, in_session
from atelier.cli.values import AMOUNT, MOMENT
from atelier.v1.money_pb2 import Money


@click.group("invoices")
def admin_invoices() -> None:
    """Finalize invoices and note what becomes of them."""


@admin_invoices.command("list")
@click.argument("tenant_id")
@in_session
def list_(session: Session, *, tenant_id: str) -> None:
    """List a tenant's invoices, newest first."""
    with session.open_client(tenant=tenant_id) as client:
        session.output.show_many(list(client.list_invoices()), INVOICE_COLUMNS)


@admin_invoices.command("finalize")
@click.argument("tenant_id")
@click.argument("invoice")
@click.option("--request-id", help="A UUID, to send the same wish again safely.")
@in_session
def finalize(session: Session, *, tenant_id: str, invoice: str, request_id: str | None) -> None:
    """Give the draft of a finished month, such as 2026-11, its number; it never changes again."""
    with session.open_client(tenant=tenant_id) as client:
        made = client.finalize_invoice(invoice, request_id=request_id)
    session.output.show_one(made, INVOICE_COLUMNS)


@admin_invoices.command("pay")
@click.argument("tenant_id")
@click.argument("invoice")
@click.argument("amount", type=AMOUNT)
@click.option("--currency", help="The tenant's unless given.")
@click.option("--paid", type=MOMENT, help="When; now unless given.")
@click.option("--reference", default="", help="The payment's, elsewhere.")
@click.option("--request-id", help="A UUID, to send the same wish again safely.")
@in_session
def pay(
    session: Session,
    *,
    tenant_id: str,
    invoice: str,
    amount: int,
    currency: str | None,
    paid: datetime | None,
    reference: str,
    request_id: str | None,
) -> None:
    """Note that AMOUNT was paid; it must be all that is due."""
    with session.open_client(tenant=tenant_id) as client:
        code = (currency or client.get_tenant().currency_code).upper()
        changed = client.record_payment(
            invoice,
            Money(currency_code=code, nanos=amount),
            payment_time=paid,
            reference=reference,
            request_id=request_id,
        )
    session.output.show_one(changed, INVOICE_COLUMNS)


@admin_invoices.command("void")
@click.argument("tenant_id")
@click.argument("invoice")
@click.option("--reason", required=True, help="It is printed.")
@click.option("--request-id", help="A UUID, to send the same wish again safely.")
@in_session
def void(
    session: Session, *, tenant_id: str, invoice: str, reason: str, request_id: str | None
) -> None:
    """Make an invoice void; it keeps its number and nobody owes anything for it."""
    with session.open_client(tenant=tenant_id) as client:
        changed = client.void_invoice(invoice, reason=reason, request_id=request_id)
    session.output.show_one(changed, INVOICE_COLUMNS)


@admin_invoices.command("credit-note")
@click.argument("tenant_id")
@click.argument("invoice")
@click.argument("amount", type=AMOUNT)
@click.option("--currency", help="The tenant's unless given.")
@click.option("--reason", required=True, help="It is printed.")
@click.option("--request-id", help="A UUID, to send the same wish again safely.")
@in_session
def credit_note(
    session: Session,
    *,
    tenant_id: str,
    invoice: str,
    amount: int,
    currency: str | None,
    reason: str,
    request_id: str | None,
) -> None:
    """Give AMOUNT, tax included, of an invoice back."""
    with session.open_client(tenant=tenant_id) as client:
        code = (currency or client.get_tenant().currency_code).upper()
        note = client.create_credit_note(
            invoice,
            Money(currency_code=code, nanos=amount),
            reason=reason,
            request_id=request_id,
        )
    session.output.show_one(note, CREDIT_NOTE_COLUMNS)
