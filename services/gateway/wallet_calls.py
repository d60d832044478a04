"""BillingService: wallets and what moves in them."""

from datetime import datetime
from typing import Any

import grpc.aio

from atelier.v1 import billing_service_pb2
from database.pool import Connection, tenant_transaction, transaction
from metering import ledger, ledger_reading
from metering.errors import AmountOverflowError, UnknownAccountError
from metering.ledger import Transfer
from metering.ledger_reading import Balance
from metering.refunds import refund_credit
from services.gateway import operator_requests, resource_names
from services.gateway.billing_calls import BillingCalls, existing_tenant
from services.gateway.billing_messages import balance_message, transfer_message
from services.gateway.callers import current_caller
from services.gateway.conversions import to_datetime, to_uuid
from services.gateway.errors import invalid_field
from services.gateway.leaving_tenants import staying_tenant
from services.gateway.once import OnceKey, once_key
from services.gateway.pages import PageRequest
from services.gateway.scopes import named_balance, named_tenant
from tenants.ids import TenantId
from tenants.tenant_store import Tenant

_Context = grpc.aio.ServicerContext[Any, Any]


class WalletCalls(BillingCalls):
    """Reads wallets, puts credit into them and takes out what was paid back."""

    async def GetBalance(
        self, request: billing_service_pb2.GetBalanceRequest, context: _Context
    ) -> billing_service_pb2.Balance:
        tenant_id = named_balance(current_caller(), request.name)
        async with tenant_transaction(self._pool, tenant_id) as conn:
            tenant = await existing_tenant(conn, tenant_id, request.name)
            balance = await _balance(conn, tenant)
        return balance_message(balance, read_time=self._now())

    async def ListTransfers(
        self, request: billing_service_pb2.ListTransfersRequest, context: _Context
    ) -> billing_service_pb2.ListTransfersResponse:
        tenant_id = named_tenant(current_caller(), request.parent)
        pages = PageRequest(request, scope=tenant_id, tokens=self._page_tokens)
        async with tenant_transaction(self._pool, tenant_id) as conn:
            transfers = await ledger_reading.list_transfers(
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
        tenant_id = named_tenant(current_caller(), request.parent)
        once = once_key(request, scope=resource_names.TENANT.write(tenant_id))
        async with transaction(self._operator_pool) as conn:
            tenant = await staying_tenant(conn, tenant_id, request.parent)
            transfer = await _grant_once(conn, request, once, tenant_id, now=self._now())
            balance = await _balance(conn, tenant)
        return billing_service_pb2.GrantCreditResponse(
            transfer=transfer_message(transfer),
            balance=balance_message(balance, read_time=self._now()),
        )

    async def RefundCredit(
        self, request: billing_service_pb2.RefundCreditRequest, context: _Context
    ) -> billing_service_pb2.RefundCreditResponse:
        tenant_id = named_tenant(current_caller(), request.parent)
        once = once_key(request, scope=resource_names.TENANT.write(tenant_id))
        async with transaction(self._operator_pool) as conn:
            tenant = await staying_tenant(conn, tenant_id, request.parent)
            transfer = await _refund_once(conn, request, once, tenant_id)
            balance = await _balance(conn, tenant)
        return billing_service_pb2.RefundCreditResponse(
            transfer=transfer_message(transfer),
            balance=balance_message(balance, read_time=self._now()),
        )


async def _grant_once(
    conn: Connection,
    request: billing_service_pb2.GrantCreditRequest,
    once: OnceKey,
    tenant_id: TenantId,
    *,
    now: datetime,
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
            priority=request.priority,
            expire_time=_expire_time(request, now=now),
        )
    except UnknownAccountError:
        raise invalid_field("amount.currency_code", "the tenant has no wallet in it") from None
    except AmountOverflowError:
        raise invalid_field("amount.nanos", "is more than the wallet can hold") from None
    name = resource_names.TRANSFER.write(tenant_id, str(transfer.transfer_id))
    await operator_requests.complete(conn, once, name)
    return transfer


async def _refund_once(
    conn: Connection,
    request: billing_service_pb2.RefundCreditRequest,
    once: OnceKey,
    tenant_id: TenantId,
) -> Transfer:
    made = await operator_requests.claim(conn, once)
    if made is not None:
        return await _transfer_of_name(conn, made)
    try:
        transfer = await refund_credit(
            conn,
            tenant_id=tenant_id,
            amount_nanos=request.amount.nanos,
            currency=request.amount.currency_code,
            reference=request.reference,
            request_id=to_uuid(request.request_id),
        )
    except UnknownAccountError:
        raise invalid_field("amount.currency_code", "the tenant has no wallet in it") from None
    name = resource_names.TRANSFER.write(tenant_id, str(transfer.transfer_id))
    await operator_requests.complete(conn, once, name)
    return transfer


def _expire_time(
    request: billing_service_pb2.GrantCreditRequest, *, now: datetime
) -> datetime | None:
    if not request.HasField("expire_time"):
        return None
    expire_time = to_datetime(request.expire_time, field="expire_time")
    if expire_time <= now:
        raise invalid_field("expire_time", "must be in the future")
    return expire_time


async def _transfer_of_name(conn: Connection, name: str) -> Transfer:
    parsed = resource_names.TRANSFER.parse(name)
    assert parsed is not None, "we wrote that name"
    transfer = await ledger_reading.get_transfer(
        conn, tenant_id=TenantId(parsed[0]), transfer_id=int(parsed[1])
    )
    assert transfer is not None, "transfers are never deleted"
    return transfer


async def _balance(conn: Connection, tenant: Tenant) -> Balance:
    balance = await ledger_reading.get_balance(
        conn, tenant_id=tenant.tenant_id, currency=tenant.currency
    )
    assert balance is not None, "a tenant's accounts are opened with it"
    return balance
