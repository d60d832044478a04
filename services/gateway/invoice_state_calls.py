"""BillingService: what an operator does with invoices; each call once for its request id."""

from typing import Any

import grpc.aio

from atelier.v1 import billing_service_pb2
from atelier.v1.money_pb2 import Money
from database.pool import Connection, transaction
from metering.invoice_document import CreditNote, Invoice
from metering.invoice_finalization import finalize_invoice
from metering.invoice_settlement import create_credit_note, record_payment, void_invoice
from metering.invoice_store import get_stored
from services.gateway import operator_requests, resource_names
from services.gateway.billing_calls import BillingCalls
from services.gateway.billing_messages import credit_note_message, invoice_message
from services.gateway.callers import current_caller
from services.gateway.conversions import to_datetime
from services.gateway.errors import invalid_field, not_found
from services.gateway.leaving_tenants import refuse_if_leaving
from services.gateway.once import OnceKey, once_key
from services.gateway.scopes import named_part
from tenants.ids import TenantId
from tenants.tenant_store import Tenant, lock_tenant

_Context = grpc.aio.ServicerContext[Any, Any]


class InvoiceStateCalls(BillingCalls):
    """Finalizes, pays, voids and corrects invoices."""

    async def FinalizeInvoice(
        self, request: billing_service_pb2.FinalizeInvoiceRequest, context: _Context
    ) -> billing_service_pb2.Invoice:
        wish = _Wish(request, request.name)
        async with transaction(self._operator_pool) as conn:
            if await wish.claim(conn) is None:
                await finalize_invoice(
                    conn,
                    refuse_if_leaving(await wish.lock(conn)),
                    invoice_id=wish.invoice_id,
                    issuer=self._issuer,
                    grace=self._invoice_grace,
                    now=self._now(),
                )
                await wish.complete(conn, wish.name)
            invoice = await wish.invoice(conn)
        return invoice_message(invoice, with_lines=True)

    async def RecordPayment(
        self, request: billing_service_pb2.RecordPaymentRequest, context: _Context
    ) -> billing_service_pb2.Invoice:
        wish = _Wish(request, request.name)
        now = self._now()
        payment_time = now
        if request.HasField("payment_time"):
            payment_time = to_datetime(request.payment_time, field="payment_time")
            if payment_time > now:
                raise invalid_field("payment_time", "must not be in the future")
        async with transaction(self._operator_pool) as conn:
            if await wish.claim(conn) is None:
                tenant = await wish.lock(conn)
                _check_currency(request.amount, tenant)
                await record_payment(
                    conn,
                    tenant_id=tenant.tenant_id,
                    invoice_id=wish.invoice_id,
                    amount_nanos=request.amount.nanos,
                    payment_time=payment_time,
                    reference=request.reference,
                )
                await wish.complete(conn, wish.name)
            invoice = await wish.invoice(conn)
        return invoice_message(invoice, with_lines=True)

    async def VoidInvoice(
        self, request: billing_service_pb2.VoidInvoiceRequest, context: _Context
    ) -> billing_service_pb2.Invoice:
        wish = _Wish(request, request.name)
        async with transaction(self._operator_pool) as conn:
            if await wish.claim(conn) is None:
                tenant = await wish.lock(conn)
                await void_invoice(
                    conn,
                    tenant_id=tenant.tenant_id,
                    invoice_id=wish.invoice_id,
                    reason=request.reason,
                    now=self._now(),
                )
                await wish.complete(conn, wish.name)
            invoice = await wish.invoice(conn)
        return invoice_message(invoice, with_lines=True)

    async def CreateCreditNote(
        self, request: billing_service_pb2.CreateCreditNoteRequest, context: _Context
    ) -> billing_service_pb2.CreditNote:
        wish = _Wish(request, request.parent)
        async with transaction(self._operator_pool) as conn:
            made = await wish.claim(conn)
            if made is None:
                tenant = await wish.lock(conn)
                _check_currency(request.amount, tenant)
                note = await create_credit_note(
                    conn,
                    tenant_id=tenant.tenant_id,
                    invoice_id=wish.invoice_id,
                    amount_nanos=request.amount.nanos,
                    reason=request.reason,
                    now=self._now(),
                )
                number = str(note.credit_note_number)
                made = resource_names.CREDIT_NOTE.write(tenant.tenant_id, wish.invoice_id, number)
                await wish.complete(conn, made)
            invoice = await wish.invoice(conn)
        return credit_note_message(_note_of_name(invoice, made), invoice)


class _Wish:
    """A call about one invoice: refused as not found where there is none, done once."""

    def __init__(self, request: Any, name: str) -> None:  # noqa: ANN401 - any with a request_id
        tenant_id, invoice_id = named_part(resource_names.INVOICE, current_caller(), name)
        self._tenant_id: TenantId = tenant_id
        self._once: OnceKey = once_key(
            request, scope=resource_names.INVOICE.write(tenant_id, invoice_id)
        )
        self.name = name
        self.invoice_id = invoice_id

    async def claim(self, conn: Connection) -> str | None:
        return await operator_requests.claim(conn, self._once)

    async def complete(self, conn: Connection, made: str) -> None:
        await operator_requests.complete(conn, self._once, made)

    async def lock(self, conn: Connection) -> Tenant:
        """Invoices of a tenant are written one after the other."""
        tenant = await lock_tenant(conn, self._tenant_id)
        if tenant is None:
            raise not_found(self.name)
        return tenant

    async def invoice(self, conn: Connection) -> Invoice:
        invoice = await get_stored(conn, tenant_id=self._tenant_id, invoice_id=self.invoice_id)
        assert invoice is not None, "a finalized invoice is never deleted"
        return invoice


def _check_currency(amount: Money, tenant: Tenant) -> None:
    if amount.currency_code != tenant.currency:
        raise invalid_field("amount.currency_code", f"the invoice is in {tenant.currency}")


def _note_of_name(invoice: Invoice, name: str) -> CreditNote:
    number = int(name.rpartition("/")[2])
    return next(note for note in invoice.credit_notes if note.credit_note_number == number)
