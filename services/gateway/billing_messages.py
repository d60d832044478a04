"""Balances, transfers and invoices as the contract's messages."""

from collections.abc import Sequence
from datetime import datetime

from atelier.v1 import billing_service_pb2, image_pb2
from metering.energy_factors import carbon_text
from metering.invoice_document import (
    CreditNote,
    Invoice,
    InvoiceEnergy,
    InvoiceLine,
    InvoiceState,
    Party,
)
from metering.ledger import Transfer
from metering.ledger_reading import Balance
from metering.money import exact_text
from services.gateway import resource_names
from services.gateway.conversions import enum_number, to_money, to_timestamp
from services.gateway.job_messages import energy_source_number

# A milligram: far below what a single image stands for.


def balance_message(balance: Balance, *, read_time: datetime) -> billing_service_pb2.Balance:
    """Write a wallet as it was."""
    currency = balance.currency
    return billing_service_pb2.Balance(
        name=resource_names.BALANCE.write(balance.tenant_id),
        posted=to_money(balance.credited_nanos - balance.spent_nanos, currency),
        held=to_money(balance.held_nanos, currency),
        credit_limit=to_money(balance.credit_limit_nanos, currency),
        available=to_money(balance.available_nanos, currency),
        read_time=to_timestamp(read_time),
    )


def transfer_message(transfer: Transfer) -> billing_service_pb2.Transfer:
    """Write a movement of money."""
    tenant_id = transfer.tenant_id
    return billing_service_pb2.Transfer(
        name=resource_names.TRANSFER.write(tenant_id, str(transfer.transfer_id)),
        kind=enum_number(billing_service_pb2.TransferKind, transfer.kind),
        debit_account=transfer.debit_account.lower(),
        credit_account=transfer.credit_account.lower(),
        amount=to_money(transfer.amount_nanos, transfer.currency),
        pending_transfer=resource_names.TRANSFER.write(tenant_id, str(transfer.pending_id))
        if transfer.pending_id
        else "",
        image=resource_names.IMAGE.write(tenant_id, transfer.job_id, transfer.image_id)
        if transfer.job_id and transfer.image_id
        else "",
        description=transfer.description,
        create_time=to_timestamp(transfer.create_time),
    )


def invoice_message(invoice: Invoice, *, with_lines: bool) -> billing_service_pb2.Invoice:
    """Write an invoice; lists leave the lines out."""
    currency = invoice.currency
    lines = invoice.lines if with_lines else ()
    return billing_service_pb2.Invoice(
        name=resource_names.INVOICE.write(invoice.tenant_id, invoice.invoice_id),
        invoice_number="" if invoice.invoice_number is None else str(invoice.invoice_number),
        state=enum_number(billing_service_pb2.InvoiceState, invoice.state),
        billing_period_start=to_timestamp(invoice.billing_period_start),
        billing_period_end=to_timestamp(invoice.billing_period_end),
        issuer=_party_message(invoice.seller),
        customer=_party_message(invoice.buyer),
        lines=line_messages(lines, currency),
        net_total=to_money(invoice.subtotal_nanos, currency),
        tax_total=to_money(invoice.tax_nanos, currency),
        total=to_money(invoice.total_nanos, currency),
        image_count=invoice.image_count,
        energy_millijoules=sum(part.energy_millijoules for part in invoice.energy),
        energies=[_energy_message(part) for part in invoice.energy],
        credit_applied=to_money(invoice.credit_applied_nanos, currency),
        due=to_money(invoice.due_nanos, currency),
        finalize_time=None
        if invoice.state is InvoiceState.DRAFT
        else to_timestamp(invoice.issue_time),
        payment_time=to_timestamp(invoice.settle_time)
        if invoice.state is InvoiceState.PAID
        else None,
        void_time=to_timestamp(invoice.settle_time) if invoice.state is InvoiceState.VOID else None,
        credit_notes=[credit_note_message(note, invoice) for note in invoice.credit_notes],
        failures=[
            billing_service_pb2.InvoiceFailure(
                outcome=enum_number(image_pb2.ImageState, failure.outcome),
                failure_reason=failure.failure_reason,
                image_count=failure.image_count,
            )
            for failure in invoice.failures
        ],
    )


def credit_note_message(note: CreditNote, invoice: Invoice) -> billing_service_pb2.CreditNote:
    """Write a correction of an invoice."""
    number = str(note.credit_note_number)
    return billing_service_pb2.CreditNote(
        name=resource_names.CREDIT_NOTE.write(invoice.tenant_id, invoice.invoice_id, number),
        credit_note_number=number,
        amount=to_money(note.amount_nanos, invoice.currency),
        tax=to_money(note.tax_nanos, invoice.currency),
        reason=note.reason,
        create_time=to_timestamp(note.create_time),
    )


def _energy_message(part: InvoiceEnergy) -> billing_service_pb2.InvoiceEnergy:
    message = billing_service_pb2.InvoiceEnergy(
        model=resource_names.MODEL.write(part.model),
        energy_source=energy_source_number(part.energy_source),
        image_count=part.image_count,
        energy_millijoules=part.energy_millijoules,
        energy_error_millijoules=part.energy_error_millijoules,
    )
    if part.factors is not None:
        message.carbon_grams = carbon_text(part.factors.carbon_grams(part.energy_millijoules))
        message.pue = exact_text(part.factors.pue)
        message.carbon_grams_per_kwh = exact_text(part.factors.carbon_grams_per_kwh)
        message.factors_source = part.factors.source
    return message


def line_messages(
    lines: Sequence[InvoiceLine], currency: str
) -> list[billing_service_pb2.InvoiceLine]:
    """Write lines, numbered from 1."""
    return [
        _line_message(line, number=number, currency=currency)
        for number, line in enumerate(lines, start=1)
    ]


def _line_message(
    line: InvoiceLine, *, number: int, currency: str
) -> billing_service_pb2.InvoiceLine:
    quantity, unit_price = line.consumed_quantity, line.list_unit_price_nanos
    return billing_service_pb2.InvoiceLine(
        line_number=number,
        kind=enum_number(billing_service_pb2.InvoiceLineKind, line.kind),
        description=line.description,
        component=line.component or "",
        model=resource_names.MODEL.write(line.model) if line.model else "",
        consumed_quantity="" if quantity is None else f"{quantity:f}",
        consumed_unit=line.consumed_unit,
        list_unit_price_nanos="" if unit_price is None else f"{unit_price:f}",
        billed_cost=to_money(line.billed_cost_nanos, currency),
        image_count=line.image_count,
        tier=enum_number(image_pb2.Tier, line.tier) if line.tier else image_pb2.TIER_UNSPECIFIED,
        price_version=resource_names.PRICE_VERSION.write(line.price_id) if line.price_id else "",
    )


def _party_message(party: Party) -> billing_service_pb2.InvoiceParty:
    return billing_service_pb2.InvoiceParty(
        legal_name=party.legal_name, postal_address=party.postal_address, vat_id=party.vat_id
    )
