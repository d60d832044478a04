"""AuditService: who did what, and when."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from atelier.v1 import api_key_service_pb2, audit_service_pb2, audit_service_pb2_grpc
from database.pool import Connection, Pool, tenant_transaction, transaction
from services.gateway import resource_names
from services.gateway.callers import OWN_TENANT, Caller, current_caller
from services.gateway.conversions import enum_number, to_datetime, to_timestamp
from services.gateway.page_tokens import PageTokens
from services.gateway.pages import PageRequest
from services.gateway.scopes import named_part, named_tenant
from tenants.api_keys import Role
from tenants.audit_store import AuditEvent, AuditFilter, list_events
from tenants.ids import KeyId, TenantId

_ALL_TENANTS = resource_names.TENANT.write(OWN_TENANT)


class AuditService(audit_service_pb2_grpc.AuditServiceServicer):
    """Serves the calls of AuditService."""

    def __init__(self, *, pool: Pool, operator_pool: Pool, page_tokens: PageTokens) -> None:
        self._pool = pool
        self._operator_pool = operator_pool
        self._page_tokens = page_tokens

    async def ListAuditEvents(
        self,
        request: audit_service_pb2.ListAuditEventsRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> audit_service_pb2.ListAuditEventsResponse:
        caller = current_caller()
        tenant_id = _tenant_asked_for(caller, request.parent)
        pages = PageRequest(request, scope=tenant_id or OWN_TENANT, tokens=self._page_tokens)
        async with self._events_of(tenant_id) as conn:
            events = await list_events(
                conn,
                _filter(request, caller),
                limit=pages.limit,
                before_event_id=int(pages.position[0]) if pages.position else None,
            )
        page = pages.page(events, position=lambda event: (str(event.event_id),))
        return audit_service_pb2.ListAuditEventsResponse(
            audit_events=[_event_message(event, reader=caller) for event in page.rows],
            next_page_token=page.next_page_token,
        )

    @asynccontextmanager
    async def _events_of(self, tenant_id: TenantId | None) -> AsyncGenerator[Connection]:
        """Open a transaction that sees the events of a tenant, or all when none is named."""
        if tenant_id is None:
            async with transaction(self._operator_pool) as conn:
                yield conn
        else:
            async with tenant_transaction(self._pool, tenant_id) as conn:
                yield conn


def _tenant_asked_for(caller: Caller, parent: str) -> TenantId | None:
    """Read the parent; None means every tenant, which operators alone may ask for."""
    if caller.is_operator and parent == _ALL_TENANTS:
        return None
    return named_tenant(caller, parent)


def _filter(request: audit_service_pb2.ListAuditEventsRequest, caller: Caller) -> AuditFilter:
    key = named_part(resource_names.API_KEY, caller, request.api_key) if request.api_key else None
    return AuditFilter(
        method=request.method or None,
        key_tenant_id=key[0] if key else None,
        key_id=KeyId(key[1]) if key else None,
        resource_name=request.resource_name or None,
        refused_only=request.refused_only,
        start_time=to_datetime(request.start_time, field="start_time")
        if request.HasField("start_time")
        else None,
        end_time=to_datetime(request.end_time, field="end_time")
        if request.HasField("end_time")
        else None,
    )


def _event_message(event: AuditEvent, *, reader: Caller) -> audit_service_pb2.AuditEvent:
    # A studio learns that the operator did it; which of its people, and from where, is its own.
    tells_who = reader.is_operator or event.role is not Role.OPERATOR
    return audit_service_pb2.AuditEvent(
        name=resource_names.AUDIT_EVENT.write(event.tenant_id, str(event.event_id)),
        create_time=to_timestamp(event.create_time),
        api_key=resource_names.API_KEY.write(event.caller_tenant_id, event.key_id)
        if tells_who
        else "",
        role=enum_number(api_key_service_pb2.KeyRole, event.role),
        address=event.address if tells_who else "",
        issuer=event.issuer,
        subject=event.subject,
        method=event.method,
        resource_name=event.resource_name,
        changed_fields=event.changed_fields,
        request_id=event.request_id,
        code=event.code,
        reason=event.reason,
        omitted_count=event.omitted_count,
    )
