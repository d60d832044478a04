"""BillingService: wallets, prices, invoices."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import grpc.aio

from atelier.v1 import billing_service_pb2, billing_service_pb2_grpc, price_pb2
from database.pool import Connection, Pool, tenant_transaction, transaction
from metering import ledger
from metering.errors import (
    AmountOverflowError,
    InvoiceNotFoundError,
    PriceVersionExistsError,
    UnknownAccountError,
)
from metering.invoice_csv import render_invoice_csv
from metering.invoice_document import Invoice, Party
from metering.invoice_pdf import render_invoice_pdf
from metering.invoices import get_invoice, list_invoices
from metering.ledger import Balance, Transfer
from metering.periods import BillingPeriod
from metering.price_book import PriceVersion, get_price, insert_price_version, list_prices
from services.gateway import operator_requests, resource_names
from services.gateway.billing_messages import balance_message, invoice_message, transfer_message
from services.gateway.callers import current_caller
from services.gateway.conversions import to_datetime, to_uuid
from services.gateway.errors import (
    already_exists,
    invalid_field,
    not_found,
    role_required,
    unsupported_parameter,
)
from services.gateway.once import OnceKey, once_key
from services.gateway.page_tokens import PageTokens, Position
from services.gateway.pages import PageRequest
from services.gateway.price_messages import price_document, price_message
from services.gateway.scopes import named_balance, named_part, named_tenant
from tenants.api_keys import Role
from tenants.ids import OPERATOR_TENANT_ID, PriceId, TenantId
from tenants.tenant_store import Tenant, get_tenant

_Context = grpc.aio.ServicerContext[Any, Any]
_CURRENT_PERIOD: Final = "current"
_PRICE_BOOK_DEFAULT: Final = "standard"
_CHUNK_BYTES: Final = 256 * 1024


class BillingService(billing_service_pb2_grpc.BillingServiceServicer):
    """Serves the calls of BillingService."""

    def __init__(
        self,
        *,
        pool: Pool,
        operator_pool: Pool,
        seller: Party,
        page_tokens: PageTokens,
        now: Callable[[], datetime],
    ) -> None:
        self._pool = pool
        self._operator_pool = operator_pool
        self._seller = seller
        self._page_tokens = page_tokens
        self._now = now

    async def GetBalance(
        self, request: billing_service_pb2.GetBalanceRequest, context: _Context
    ) -> billing_service_pb2.Balance:
        tenant_id = named_balance(current_caller(), request.name)
        async with tenant_transaction(self._pool, tenant_id) as conn:
            tenant = await _existing_tenant(conn, tenant_id, request.name)
            balance = await _balance(conn, tenant)
        return balance_message(balance, read_time=self._now())

    async def ListTransfers(
        self, request: billing_service_pb2.ListTransfersRequest, context: _Context
    ) -> billing_service_pb2.ListTransfersResponse:
        tenant_id = named_tenant(current_caller(), request.parent)
        pages = PageRequest(request, scope=tenant_id, tokens=self._page_tokens)
        async with tenant_transaction(self._pool, tenant_id) as conn:
            transfers = await ledger.list_transfers(
                conn,
                tenant_id=tenant_id,
                limit=pages.limit,
                before=int(pages.position[0]) if pages.position else None,
                start_time=to_datetime(request.start_time, field="start_time")
                if request.HasField("start_time")
                else None,
                end_time=to_datetime(request.end_time, field="end_time")
                if request.HasField("end_time")
                else None,
            )
        page = pages.page(transfers, position=lambda transfer: (str(transfer.transfer_id),))
        return billing_service_pb2.ListTransfersResponse(
            transfers=[transfer_message(transfer) for transfer in page.rows],
            next_page_token=page.next_page_token,
        )

    async def GrantCredit(
        self, request: billing_service_pb2.GrantCreditRequest, context: _Context
    ) -> billing_service_pb2.GrantCreditResponse:
        if request.HasField("expire_time"):
            raise unsupported_parameter("expire_time", "credit that expires is not supported yet")
        if request.priority:
            raise unsupported_parameter("priority", "lots of credit are not supported yet")
        tenant_id = named_tenant(current_caller(), request.parent)
        once = once_key(request, scope=resource_names.TENANT.write(tenant_id))
        async with transaction(self._operator_pool) as conn:
            tenant = await _existing_tenant(conn, tenant_id, request.parent)
            transfer = await _grant_once(conn, request, once, tenant_id)
            balance = await _balance(conn, tenant)
        return billing_service_pb2.GrantCreditResponse(
            transfer=transfer_message(transfer),
            balance=balance_message(balance, read_time=self._now()),
        )

    async def ListPrices(
        self, request: billing_service_pb2.ListPricesRequest, context: _Context
    ) -> billing_service_pb2.ListPricesResponse:
        caller = current_caller()
        if not request.parent and not caller.is_operator:
            raise role_required("ListPrices without parent", Role.OPERATOR)
        tenant_id = named_tenant(caller, request.parent) if request.parent else OPERATOR_TENANT_ID
        pages = PageRequest(request, scope=tenant_id, tokens=self._page_tokens)
        async with tenant_transaction(self._pool, tenant_id) as conn:
            prices = await self._prices(conn, request.parent, tenant_id, pages)
        page = pages.page(
            prices, position=lambda price: (price.effective_time.isoformat(), price.price_id)
        )
        return billing_service_pb2.ListPricesResponse(
            price_versions=[price_message(price) for price in page.rows],
            next_page_token=page.next_page_token,
        )

    async def CreatePriceVersion(
        self, request: billing_service_pb2.CreatePriceVersionRequest, context: _Context
    ) -> price_pb2.PriceVersion:
        wanted = request.price_version
        document = price_document(wanted)
        now = self._now()
        effective_time = now
        if wanted.HasField("effective_time"):
            field = "price_version.effective_time"
            effective_time = to_datetime(wanted.effective_time, field=field)
            if effective_time < now:
                raise invalid_field(field, "must not be in the past")
        price_book = wanted.price_book or _PRICE_BOOK_DEFAULT
        once = once_key(request, scope="priceVersions")
        async with transaction(self._operator_pool) as conn:
            made = await operator_requests.claim(conn, once)
            if made is not None:
                return price_message(await _price_of_name(conn, made))
            try:
                version = await insert_price_version(
                    conn,
                    price_book=price_book,
                    effective_time=effective_time,
                    document=document,
                )
            except PriceVersionExistsError:
                raise already_exists(
                    f"a version of {price_book} in {document.currency} from that time"
                ) from None
            name = resource_names.PRICE_VERSION.write(version.price_id)
            await operator_requests.complete(conn, once, name)
        return price_message(version)

    async def ListInvoices(
        self, request: billing_service_pb2.ListInvoicesRequest, context: _Context
    ) -> billing_service_pb2.ListInvoicesResponse:
        tenant_id = named_tenant(current_caller(), request.parent)
        pages = PageRequest(request, scope=tenant_id, tokens=self._page_tokens)
        async with tenant_transaction(self._pool, tenant_id) as conn:
            tenant = await _existing_tenant(conn, tenant_id, request.parent)
            invoices = await list_invoices(
                conn,
                tenant,
                seller=self._seller,
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
            tenant = await _existing_tenant(conn, tenant_id, name)
            if invoice_id == _CURRENT_PERIOD:
                period = BillingPeriod.containing(now, time_zone=tenant.time_zone)
                invoice_id = period.invoice_id
            try:
                return await get_invoice(
                    conn, tenant, invoice_id=invoice_id, seller=self._seller, now=now
                )
            except InvoiceNotFoundError:
                raise not_found(name) from None

    async def _prices(
        self, conn: Connection, parent: str, tenant_id: TenantId, pages: PageRequest
    ) -> list[PriceVersion]:
        before = _price_position(pages.position)
        if not parent:
            return await list_prices(conn, limit=pages.limit, before=before)
        tenant = await _existing_tenant(conn, tenant_id, parent)
        return await list_prices(
            conn,
            price_book=tenant.price_book,
            currency=tenant.currency,
            limit=pages.limit,
            before=before,
        )


async def _grant_once(
    conn: Connection,
    request: billing_service_pb2.GrantCreditRequest,
    once: OnceKey,
    tenant_id: TenantId,
) -> Transfer:
    made = await operator_requests.claim(conn, once)
    if made is not None:
        return await _transfer_of_name(conn, made)
    try:
        transfer = await ledger.grant_credit(
            conn,
            tenant_id=tenant_id,
            amount_nanos=request.amount.nanos,
            currency=request.amount.currency_code,
            description=request.description,
            request_id=to_uuid(request.request_id),
        )
    except UnknownAccountError:
        raise invalid_field("amount.currency_code", "the tenant has no wallet in it") from None
    except AmountOverflowError:
        raise invalid_field("amount.nanos", "is more than the wallet can hold") from None
    name = resource_names.TRANSFER.write(tenant_id, str(transfer.transfer_id))
    await operator_requests.complete(conn, once, name)
    return transfer


async def _transfer_of_name(conn: Connection, name: str) -> Transfer:
    parsed = resource_names.TRANSFER.parse(name)
    assert parsed is not None, "we wrote that name"
    transfer = await ledger.get_transfer(
        conn, tenant_id=TenantId(parsed[0]), transfer_id=int(parsed[1])
    )
    assert transfer is not None, "transfers are never deleted"
    return transfer


async def _price_of_name(conn: Connection, name: str) -> PriceVersion:
    parsed = resource_names.PRICE_VERSION.parse(name)
    assert parsed is not None, "we wrote that name"
    version = await get_price(conn, PriceId(parsed[0]))
    assert version is not None, "price versions are never deleted"
    return version


async def _existing_tenant(conn: Connection, tenant_id: TenantId, name: str) -> Tenant:
    tenant = await get_tenant(conn, tenant_id)
    if tenant is None:
        raise not_found(name)
    return tenant


async def _balance(conn: Connection, tenant: Tenant) -> Balance:
    balance = await ledger.get_balance(conn, tenant_id=tenant.tenant_id, currency=tenant.currency)
    assert balance is not None, "a tenant's accounts are opened with it"
    return balance


async def _rendered(
    invoice: Invoice, file_kind: billing_service_pb2.InvoiceFileKind.ValueType
) -> tuple[billing_service_pb2.InvoiceFile, bytes]:
    if file_kind == billing_service_pb2.INVOICE_FILE_KIND_CSV:
        extension, content_type = "csv", "text/csv"
        content = render_invoice_csv(invoice)
    else:
        extension, content_type = "pdf", "application/pdf"
        # A tenth of a second of one core: not in the thread that serves everybody.
        content = await asyncio.to_thread(render_invoice_pdf, invoice)
    file = billing_service_pb2.InvoiceFile(
        file_name=f"{invoice.tenant_id}-{invoice.invoice_id}.{extension}",
        content_type=content_type,
        byte_count=len(content),
        sha256=sha256(content).hexdigest(),
    )
    return file, content


def _price_position(position: Position | None) -> tuple[datetime, str] | None:
    if position is None:
        return None
    effective_time, price_id = position
    return datetime.fromisoformat(effective_time), price_id
