"""BillingService: price versions, and what a past period would cost under one."""

from datetime import datetime
from typing import Any, Final

import grpc.aio

from atelier.v1 import billing_service_pb2, price_pb2
from database.pool import Connection, tenant_snapshot, tenant_transaction, transaction
from metering.errors import (
    InvoiceNotFoundError,
    ModelNotPricedError,
    PriceVersionExistsError,
)
from metering.invoice_document import Invoice
from metering.invoices import get_invoice
from metering.money import round_to_minor_unit
from metering.periods import BillingPeriod
from metering.price_book import PriceVersion, get_price, insert_price_version, list_prices
from metering.price_document import PriceDocument
from metering.price_simulation import simulate_price
from services.gateway import operator_requests, resource_names
from services.gateway.billing_calls import BillingCalls, existing_tenant
from services.gateway.billing_messages import line_messages
from services.gateway.callers import current_caller
from services.gateway.conversions import to_datetime, to_money
from services.gateway.errors import already_exists, invalid_field, not_found, role_required
from services.gateway.once import once_key
from services.gateway.page_tokens import Position
from services.gateway.pages import PageRequest
from services.gateway.price_messages import price_document, price_message
from services.gateway.scopes import named_tenant
from tenants.api_keys import Role
from tenants.ids import OPERATOR_TENANT_ID, PriceId, TenantId
from tenants.tenant_store import Tenant

_Context = grpc.aio.ServicerContext[Any, Any]
_PRICE_BOOK_DEFAULT: Final = "standard"


class PriceCalls(BillingCalls):
    """Shows prices and makes new versions of them."""

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

    async def SimulatePrice(
        self, request: billing_service_pb2.SimulatePriceRequest, context: _Context
    ) -> billing_service_pb2.SimulatePriceResponse:
        tenant_id = named_tenant(current_caller(), request.parent)
        async with tenant_snapshot(self._pool, tenant_id) as conn:
            tenant = await existing_tenant(conn, tenant_id, request.parent)
            price = await _simulated_price(conn, request, tenant)
            actual = await self._actual(conn, tenant, request.billing_period)
            period = BillingPeriod.parse(request.billing_period, time_zone=tenant.time_zone)
            try:
                totals = await simulate_price(conn, tenant_id, period=period, price=price)
            except ModelNotPricedError as error:
                raise invalid_field("price", f"charges nothing for the model {error}") from None
        return billing_service_pb2.SimulatePriceResponse(
            lines=line_messages(totals.lines, tenant.currency),
            total=to_money(totals.total_nanos, tenant.currency),
            actual_total=to_money(
                # What was prepaid is paid all the same.
                round_to_minor_unit(actual.subtotal_nanos + actual.tax_nanos, tenant.currency),
                tenant.currency,
            ),
        )

    async def _actual(self, conn: Connection, tenant: Tenant, invoice_id: str) -> Invoice:
        try:
            return await get_invoice(
                conn, tenant, invoice_id=invoice_id, issuer=self._issuer, now=self._now()
            )
        except InvoiceNotFoundError:
            raise not_found(resource_names.INVOICE.write(tenant.tenant_id, invoice_id)) from None

    async def _prices(
        self, conn: Connection, parent: str, tenant_id: TenantId, pages: PageRequest
    ) -> list[PriceVersion]:
        before = _price_position(pages.position)
        if not parent:
            return await list_prices(conn, limit=pages.limit, before=before)
        tenant = await existing_tenant(conn, tenant_id, parent)
        return await list_prices(
            conn,
            price_book=tenant.price_book,
            currency=tenant.currency,
            limit=pages.limit,
            before=before,
        )


async def _simulated_price(
    conn: Connection, request: billing_service_pb2.SimulatePriceRequest, tenant: Tenant
) -> PriceDocument:
    if request.WhichOneof("price") == "draft":
        price, field = price_document(request.draft), "draft.currency_code"
    else:
        parsed = resource_names.PRICE_VERSION.parse(request.price_version)
        version = await get_price(conn, PriceId(parsed[0])) if parsed else None
        if version is None:
            raise not_found(request.price_version)
        price, field = version.document, "price_version"
    if price.currency != tenant.currency:
        raise invalid_field(field, f"must be in {tenant.currency}")
    return price


async def _price_of_name(conn: Connection, name: str) -> PriceVersion:
    parsed = resource_names.PRICE_VERSION.parse(name)
    assert parsed is not None, "we wrote that name"
    version = await get_price(conn, PriceId(parsed[0]))
    assert version is not None, "price versions are never deleted"
    return version


def _price_position(position: Position | None) -> tuple[datetime, str] | None:
    if position is None:
        return None
    effective_time, price_id = position
    return datetime.fromisoformat(effective_time), price_id
