"""BillingService: invoices."""

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any, Final

import grpc.aio

from atelier.v1 import billing_service_pb2
from database.pool import tenant_transaction
from metering.errors import InvoiceNotFoundError
from metering.invoice_document import Invoice
from metering.invoice_files import CONTENT_TYPES, InvoiceFileKind, render_invoice
from metering.invoices import get_invoice, list_invoices
from metering.periods import BillingPeriod
from services.gateway import resource_names
from services.gateway.billing_calls import BillingCalls, existing_tenant
from services.gateway.billing_messages import invoice_message
from services.gateway.callers import current_caller
from services.gateway.conversions import enum_text
from services.gateway.errors import not_found
from services.gateway.pages import PageRequest
from services.gateway.scopes import named_part, named_tenant

_Context = grpc.aio.ServicerContext[Any, Any]
_CURRENT_PERIOD: Final = "current"
_CHUNK_BYTES: Final = 256 * 1024


class InvoiceCalls(BillingCalls):
    """Shows invoices and hands them out as files."""

    async def ListInvoices(
        self, request: billing_service_pb2.ListInvoicesRequest, context: _Context
    ) -> billing_service_pb2.ListInvoicesResponse:
        tenant_id = named_tenant(current_caller(), request.parent)
        pages = PageRequest(request, scope=tenant_id, tokens=self._page_tokens)
        async with tenant_transaction(self._pool, tenant_id) as conn:
            tenant = await existing_tenant(conn, tenant_id, request.parent)
            invoices = await list_invoices(
                conn,
                tenant,
                issuer=self._issuer,
                now=self._now(),
                limit=pages.limit,
                before=pages.position[0] if pages.position else None,
            )
        page = pages.page(invoices, position=lambda invoice: (invoice.invoice_id,))
        return billing_service_pb2.ListInvoicesResponse(
            invoices=[invoice_message(invoice, with_lines=False) for invoice in page.rows],
            next_page_token=page.next_page_token,
        )

    async def GetInvoice(
        self, request: billing_service_pb2.GetInvoiceRequest, context: _Context
    ) -> billing_service_pb2.Invoice:
        return invoice_message(await self._invoice(request.name), with_lines=True)

    async def DownloadInvoice(
        self, request: billing_service_pb2.DownloadInvoiceRequest, context: _Context
    ) -> AsyncIterator[billing_service_pb2.DownloadInvoiceResponse]:
        invoice = await self._invoice(request.name)
        file, content = await _rendered(invoice, request.file_kind)
        yield billing_service_pb2.DownloadInvoiceResponse(file=file)
        for offset in range(0, len(content), _CHUNK_BYTES):
            yield billing_service_pb2.DownloadInvoiceResponse(
                chunk=content[offset : offset + _CHUNK_BYTES]
            )

    async def _invoice(self, name: str) -> Invoice:
        tenant_id, invoice_id = named_part(resource_names.INVOICE, current_caller(), name)
        now = self._now()
        async with tenant_transaction(self._pool, tenant_id) as conn:
            tenant = await existing_tenant(conn, tenant_id, name)
            if invoice_id == _CURRENT_PERIOD:
                period = BillingPeriod.containing(now, time_zone=tenant.time_zone)
                invoice_id = period.invoice_id
            try:
                return await get_invoice(
                    conn, tenant, invoice_id=invoice_id, issuer=self._issuer, now=now
                )
            except InvoiceNotFoundError:
                raise not_found(name) from None


async def _rendered(
    invoice: Invoice, file_kind: billing_service_pb2.InvoiceFileKind.ValueType
) -> tuple[billing_service_pb2.InvoiceFile, bytes]:
    name = enum_text(billing_service_pb2.InvoiceFileKind, file_kind) or InvoiceFileKind.PDF.name
    kind = InvoiceFileKind[name]
    # A tenth of a second of one core: not in the thread that serves everybody.
    content = await asyncio.to_thread(render_invoice, invoice, kind)
    file = billing_service_pb2.InvoiceFile(
        file_name=f"{invoice.tenant_id}-{invoice.invoice_id}.{kind.value}",
        content_type=CONTENT_TYPES[kind],
        byte_count=len(content),
        sha256=sha256(content).hexdigest(),
    )
    return file, content
