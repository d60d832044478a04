"""IdentityService: what signed tokens open. Operators bind; tenants see and end what is bound."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import grpc.aio

from atelier.v1 import api_key_service_pb2, identity_service_pb2, identity_service_pb2_grpc
from database.pool import Connection, Pool, tenant_transaction, transaction
from services.gateway import resource_names
from services.gateway.callers import current_caller
from services.gateway.conversions import enum_number, enum_text, to_timestamp
from services.gateway.errors import already_exists, invalid_field, not_found
from services.gateway.identity.issuers import Issuer
from services.gateway.leaving_tenants import staying_tenant
from services.gateway.network_parsing import parse_networks
from services.gateway.once import OnceKey, once_key
from services.gateway.page_tokens import PageTokens, Position
from services.gateway.pages import PageRequest
from services.gateway.scopes import named_part, named_tenant
from services.jobs.requests import claim_request, complete_request
from tenants.api_keys import Role
from tenants.errors import BindingNotFoundError, IdentityBoundError
from tenants.identity_binding_store import (
    BindingToStore,
    delete_binding,
    get_binding,
    insert_binding,
    list_bindings,
)
from tenants.identity_bindings import SUBJECT_CLAIM, IdentityBinding, IdentityClaim
from tenants.ids import BindingId, TenantId, new_resource_id
from tenants.tenant_store import get_tenant

_Context = grpc.aio.ServicerContext[Any, Any]


class IdentityService(identity_service_pb2_grpc.IdentityServiceServicer):
    """Serves the calls of IdentityService."""

    def __init__(
        self,
        *,
        pool: Pool,
        operator_pool: Pool,
        issuers: Mapping[str, Issuer],
        page_tokens: PageTokens,
    ) -> None:
        self._pool = pool
        self._operator_pool = operator_pool
        self._issuers = issuers
        self._page_tokens = page_tokens

    async def CreateIdentityBinding(
        self, request: identity_service_pb2.CreateIdentityBindingRequest, context: _Context
    ) -> identity_service_pb2.IdentityBinding:
        tenant_id = named_tenant(current_caller(), request.parent)
        once = once_key(request, scope=resource_names.TENANT.write(tenant_id))
        wanted = self._wanted(request.identity_binding, tenant_id)
        try:
            async with transaction(self._operator_pool) as conn:
                await staying_tenant(conn, tenant_id, resource_names.TENANT.write(tenant_id))
                binding = await _insert_once(conn, once, wanted)
        except IdentityBoundError:
            raise already_exists(f"a binding of this {wanted.claim.claim}") from None
        return _binding_message(binding)

    async def ListIdentityBindings(
        self, request: identity_service_pb2.ListIdentityBindingsRequest, context: _Context
    ) -> identity_service_pb2.ListIdentityBindingsResponse:
        tenant_id = named_tenant(current_caller(), request.parent)
        pages = PageRequest(request, scope=tenant_id, tokens=self._page_tokens)
        async with tenant_transaction(self._pool, tenant_id) as conn:
            await _check_tenant(conn, tenant_id)
            bindings = await list_bindings(
                conn, tenant_id, limit=pages.limit, before=_before(pages.position)
            )
        page = pages.page(
            bindings, position=lambda one: (one.create_time.isoformat(), one.binding_id)
        )
        return identity_service_pb2.ListIdentityBindingsResponse(
            identity_bindings=[_binding_message(binding) for binding in page.rows],
            next_page_token=page.next_page_token,
        )

    async def DeleteIdentityBinding(
        self, request: identity_service_pb2.DeleteIdentityBindingRequest, context: _Context
    ) -> identity_service_pb2.IdentityBinding:
        tenant_id, binding_id = named_part(
            resource_names.IDENTITY_BINDING, current_caller(), request.name
        )
        try:
            async with tenant_transaction(self._pool, tenant_id) as conn:
                deleted = await delete_binding(
                    conn, tenant_id=tenant_id, binding_id=BindingId(binding_id)
                )
        except BindingNotFoundError:
            raise not_found(resource_names.IDENTITY_BINDING.write(tenant_id, binding_id)) from None
        return _binding_message(deleted)

    def _wanted(
        self, wanted: identity_service_pb2.IdentityBinding, tenant_id: TenantId
    ) -> BindingToStore:
        return BindingToStore(
            tenant_id=tenant_id,
            binding_id=BindingId(new_resource_id()),
            claim=self._claim(wanted),
            role=_role(wanted),
            project=wanted.project,
            display_name=wanted.display_name,
            allowed_networks=parse_networks(
                wanted.allowed_networks, field="identity_binding.allowed_networks"
            ),
        )

    def _claim(self, wanted: identity_service_pb2.IdentityBinding) -> IdentityClaim:
        issuer = self._issuers.get(wanted.issuer)
        if issuer is None:
            raise invalid_field("identity_binding.issuer", "is none that this installation trusts")
        claim = wanted.claim or SUBJECT_CLAIM
        if claim not in {SUBJECT_CLAIM, *issuer.binding_claims}:
            raise invalid_field(
                "identity_binding.claim", "is none that may be bound for this issuer"
            )
        if not wanted.claim_value.isprintable():
            raise invalid_field("identity_binding.claim_value", "has characters that nobody sees")
        return IdentityClaim(issuer=issuer.url, claim=claim, claim_value=wanted.claim_value)


async def _insert_once(conn: Connection, once: OnceKey, wanted: BindingToStore) -> IdentityBinding:
    """Store a binding, or find the one that the same request made.

    Raises:
        BindingNotFoundError: it made one, which has been deleted since.
    """
    made = await claim_request(
        conn,
        tenant_id=wanted.tenant_id,
        request_id=once.request_id,
        method=once.method,
        body_sha256=once.body_sha256,
    )
    if made is not None:
        return await _made_earlier(conn, made)
    stored = await insert_binding(conn, wanted)
    await complete_request(
        conn,
        tenant_id=wanted.tenant_id,
        request_id=once.request_id,
        resource_name=resource_names.IDENTITY_BINDING.write(stored.tenant_id, stored.binding_id),
    )
    return stored


async def _made_earlier(conn: Connection, name: str) -> IdentityBinding:
    parsed = resource_names.IDENTITY_BINDING.parse(name)
    assert parsed is not None, "we wrote that name"
    tenant_id, binding_id = parsed
    try:
        return await get_binding(
            conn, tenant_id=TenantId(tenant_id), binding_id=BindingId(binding_id)
        )
    except BindingNotFoundError:
        raise not_found(name) from None


async def _check_tenant(conn: Connection, tenant_id: TenantId) -> None:
    if await get_tenant(conn, tenant_id) is None:
        raise not_found(resource_names.TENANT.write(tenant_id))


def _role(wanted: identity_service_pb2.IdentityBinding) -> Role:
    role = Role(enum_text(api_key_service_pb2.KeyRole, wanted.role) or Role.MEMBER)
    if role is Role.OPERATOR:
        raise invalid_field("identity_binding.role", "tokens open as MEMBER or ADMIN")
    return role


def _before(position: Position | None) -> tuple[datetime, BindingId] | None:
    if position is None:
        return None
    create_time, binding_id = position
    return datetime.fromisoformat(create_time), BindingId(binding_id)


def _binding_message(binding: IdentityBinding) -> identity_service_pb2.IdentityBinding:
    return identity_service_pb2.IdentityBinding(
        name=resource_names.IDENTITY_BINDING.write(binding.tenant_id, binding.binding_id),
        issuer=binding.issuer,
        claim=binding.claim,
        claim_value=binding.claim_value,
        role=enum_number(api_key_service_pb2.KeyRole, binding.role),
        project=binding.project,
        display_name=binding.display_name,
        allowed_networks=[str(network) for network in binding.allowed_networks],
        create_time=to_timestamp(binding.create_time),
    )
