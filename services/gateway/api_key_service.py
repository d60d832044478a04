"""ApiKeyService: keys that open the door. A secret is in one answer and nowhere else."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

import grpc.aio

from atelier.v1 import api_key_service_pb2, api_key_service_pb2_grpc
from database.pool import Connection, Pool, tenant_transaction, transaction
from services.gateway import resource_names
from services.gateway.callers import Caller, current_caller
from services.gateway.conversions import enum_number, enum_text, to_datetime, to_timestamp
from services.gateway.errors import invalid_field, invalid_state, not_found
from services.gateway.leaving_tenants import staying_tenant
from services.gateway.network_parsing import parse_networks
from services.gateway.once import OnceKey, once_key
from services.gateway.page_tokens import PageTokens, Position
from services.gateway.pages import PageRequest
from services.gateway.scopes import named_part, named_tenant
from services.jobs.requests import claim_request, complete_request
from tenants.api_key_store import (
    KeyToStore,
    find_key,
    insert_key,
    list_keys,
    lock_key,
    revoke_key,
    rotate_key,
)
from tenants.api_keys import NewKey, Role, StoredKey, new_key, new_secret
from tenants.errors import KeyNotFoundError
from tenants.ids import OPERATOR_TENANT_ID, KeyId, TenantId
from tenants.tenant_store import get_tenant

_Context = grpc.aio.ServicerContext[Any, Any]


class ApiKeyService(api_key_service_pb2_grpc.ApiKeyServiceServicer):
    """Serves the calls of ApiKeyService."""

    def __init__(
        self,
        *,
        pool: Pool,
        operator_pool: Pool,
        pepper: bytes,
        rotation_grace: timedelta,
        page_tokens: PageTokens,
        now: Callable[[], datetime],
    ) -> None:
        self._pool = pool
        self._operator_pool = operator_pool
        self._pepper = pepper
        self._rotation_grace = rotation_grace
        self._page_tokens = page_tokens
        self._now = now

    async def CreateApiKey(
        self, request: api_key_service_pb2.CreateApiKeyRequest, context: _Context
    ) -> api_key_service_pb2.CreateApiKeyResponse:
        caller = current_caller()
        tenant_id = named_tenant(caller, request.parent)
        once = once_key(request, scope=resource_names.TENANT.write(tenant_id))
        made = new_key(pepper=self._pepper)
        wanted = _key_to_store(request.api_key, made, tenant_id, now=self._now())
        async with self._keys_of(tenant_id) as conn:
            if tenant_id != OPERATOR_TENANT_ID:
                await staying_tenant(conn, tenant_id, resource_names.TENANT.write(tenant_id))
            stored, is_new = await _insert_once(conn, once, wanted)
        return api_key_service_pb2.CreateApiKeyResponse(
            api_key=_key_message(stored, now=self._now()),
            secret=made.text if is_new else "",
            secret_already_shown=not is_new,
        )

    async def ListApiKeys(
        self, request: api_key_service_pb2.ListApiKeysRequest, context: _Context
    ) -> api_key_service_pb2.ListApiKeysResponse:
        tenant_id = named_tenant(current_caller(), request.parent)
        pages = PageRequest(request, scope=tenant_id, tokens=self._page_tokens)
        async with self._keys_of(tenant_id) as conn:
            await _check_tenant(conn, tenant_id)
            keys = await list_keys(
                conn, tenant_id, limit=pages.limit, before=_before(pages.position)
            )
        page = pages.page(keys, position=lambda key: (key.create_time.isoformat(), key.key_id))
        return api_key_service_pb2.ListApiKeysResponse(
            api_keys=[_key_message(key, now=self._now()) for key in page.rows],
            next_page_token=page.next_page_token,
        )

    async def RotateApiKey(
        self, request: api_key_service_pb2.RotateApiKeyRequest, context: _Context
    ) -> api_key_service_pb2.RotateApiKeyResponse:
        tenant_id, key_id = named_part(resource_names.API_KEY, current_caller(), request.name)
        once = once_key(request, scope=resource_names.API_KEY.write(tenant_id, key_id))
        made = new_secret(KeyId(key_id), pepper=self._pepper)
        try:
            async with self._keys_of(tenant_id) as conn:
                stored, is_new = await self._rotate_once(
                    conn, once, tenant_id=tenant_id, made=made, grace=self._grace(request)
                )
        except KeyNotFoundError:
            raise not_found(resource_names.API_KEY.write(tenant_id, key_id)) from None
        return api_key_service_pb2.RotateApiKeyResponse(
            api_key=_key_message(stored, now=self._now()),
            secret=made.text if is_new else "",
            secret_already_shown=not is_new,
        )

    async def RevokeApiKey(
        self, request: api_key_service_pb2.RevokeApiKeyRequest, context: _Context
    ) -> api_key_service_pb2.ApiKey:
        caller: Caller = current_caller()
        tenant_id, key_id = named_part(resource_names.API_KEY, caller, request.name)
        try:
            async with self._keys_of(tenant_id) as conn:
                revoked = await revoke_key(conn, tenant_id=tenant_id, key_id=KeyId(key_id))
        except KeyNotFoundError:
            raise not_found(resource_names.API_KEY.write(tenant_id, key_id)) from None
        return _key_message(revoked, now=self._now())

    async def _rotate_once(
        self,
        conn: Connection,
        once: OnceKey,
        *,
        tenant_id: TenantId,
        made: NewKey,
        grace: timedelta,
    ) -> tuple[StoredKey, bool]:
        """Rotate a key, or find it as the same request left it; the second value tells which."""
        earlier = await claim_request(
            conn,
            tenant_id=tenant_id,
            request_id=once.request_id,
            method=once.method,
            body_sha256=once.body_sha256,
        )
        key = await lock_key(conn, tenant_id=tenant_id, key_id=made.key_id)
        if earlier is not None:
            return key, False
        _refuse_to_rotate(key, now=self._now())
        rotated = await rotate_key(
            conn,
            tenant_id=tenant_id,
            new=made,
            old_secret_expire_time=self._now() + grace if grace else None,
        )
        await complete_request(
            conn,
            tenant_id=tenant_id,
            request_id=once.request_id,
            resource_name=resource_names.API_KEY.write(tenant_id, made.key_id),
        )
        return rotated, True

    def _grace(self, request: api_key_service_pb2.RotateApiKeyRequest) -> timedelta:
        return request.grace.ToTimedelta() if request.HasField("grace") else self._rotation_grace

    @asynccontextmanager
    async def _keys_of(self, tenant_id: TenantId) -> AsyncGenerator[Connection]:
        """Open a transaction that may write the keys of a tenant, or those of operators."""
        if tenant_id == OPERATOR_TENANT_ID:
            async with transaction(self._operator_pool) as conn:
                yield conn
        else:
            async with tenant_transaction(self._pool, tenant_id) as conn:
                yield conn


async def _insert_once(
    conn: Connection, once: OnceKey, wanted: KeyToStore
) -> tuple[StoredKey, bool]:
    """Store a key, or find the one that the same request made; the second value tells which."""
    made = await claim_request(
        conn,
        tenant_id=wanted.tenant_id,
        request_id=once.request_id,
        method=once.method,
        body_sha256=once.body_sha256,
    )
    if made is not None:
        parsed = resource_names.API_KEY.parse(made)
        assert parsed is not None, "we wrote that name"
        earlier = await find_key(conn, KeyId(parsed[1]))
        assert earlier is not None, "keys are revoked, never deleted"
        return earlier, False
    stored = await insert_key(conn, wanted)
    await complete_request(
        conn,
        tenant_id=wanted.tenant_id,
        request_id=once.request_id,
        resource_name=resource_names.API_KEY.write(stored.tenant_id, stored.key_id),
    )
    return stored, True


async def _check_tenant(conn: Connection, tenant_id: TenantId) -> None:
    if tenant_id != OPERATOR_TENANT_ID and await get_tenant(conn, tenant_id) is None:
        raise not_found(resource_names.TENANT.write(tenant_id))


def _key_to_store(
    wanted: api_key_service_pb2.ApiKey, made: NewKey, tenant_id: TenantId, *, now: datetime
) -> KeyToStore:
    return KeyToStore(
        tenant_id=tenant_id,
        key_id=made.key_id,
        display_name=wanted.display_name,
        role=_role(wanted, tenant_id),
        project=wanted.project,
        secret_hmac=made.secret_hmac,
        allowed_networks=parse_networks(wanted.allowed_networks, field="api_key.allowed_networks"),
        expire_time=_expire_time(wanted, now=now),
    )


def _role(wanted: api_key_service_pb2.ApiKey, tenant_id: TenantId) -> Role:
    role = Role(enum_text(api_key_service_pb2.KeyRole, wanted.role) or Role.MEMBER)
    if (role is Role.OPERATOR) != (tenant_id == OPERATOR_TENANT_ID):
        raise invalid_field(
            "api_key.role", "OPERATOR is the role of tenants/operator, and its only one"
        )
    return role


def _expire_time(wanted: api_key_service_pb2.ApiKey, *, now: datetime) -> datetime | None:
    if not wanted.HasField("expire_time"):
        return None
    expire_time = to_datetime(wanted.expire_time, field="api_key.expire_time")
    if expire_time <= now:
        raise invalid_field("api_key.expire_time", "must be in the future")
    return expire_time


def _refuse_to_rotate(key: StoredKey, *, now: datetime) -> None:
    state = api_key_service_pb2.ApiKeyState.Name(_state(key, now=now))
    if state != "API_KEY_STATE_ACTIVE":
        word = state.removeprefix("API_KEY_STATE_")
        raise invalid_state(f"the key is {word}; make a new one", state=word)


def _before(position: Position | None) -> tuple[datetime, KeyId] | None:
    if position is None:
        return None
    create_time, key_id = position
    return datetime.fromisoformat(create_time), KeyId(key_id)


def _key_message(key: StoredKey, *, now: datetime) -> api_key_service_pb2.ApiKey:
    return api_key_service_pb2.ApiKey(
        name=resource_names.API_KEY.write(key.tenant_id, key.key_id),
        display_name=key.display_name,
        role=enum_number(api_key_service_pb2.KeyRole, key.role),
        project=key.project,
        expire_time=to_timestamp(key.expire_time),
        state=_state(key, now=now),
        create_time=to_timestamp(key.create_time),
        revoke_time=to_timestamp(key.revoke_time),
        allowed_networks=[str(network) for network in key.allowed_networks],
        rotate_time=to_timestamp(key.rotate_time),
        old_secret_expire_time=to_timestamp(_old_secret_expire_time(key, now=now)),
    )


def _old_secret_expire_time(key: StoredKey, *, now: datetime) -> datetime | None:
    expire_time = key.old_secret_expire_time
    return expire_time if expire_time is not None and expire_time > now else None


def _state(key: StoredKey, *, now: datetime) -> api_key_service_pb2.ApiKeyState.ValueType:
    if key.revoke_time is not None:
        return api_key_service_pb2.API_KEY_STATE_REVOKED
    if key.expire_time is not None and key.expire_time <= now:
        return api_key_service_pb2.API_KEY_STATE_EXPIRED
    return api_key_service_pb2.API_KEY_STATE_ACTIVE
