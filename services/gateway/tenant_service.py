"""TenantService: studios on this installation."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import grpc.aio
from google.protobuf import empty_pb2
from google.protobuf.message import Message

from atelier.v1 import tenant_service_pb2, tenant_service_pb2_grpc
from database.pool import Connection, Pool, tenant_transaction, transaction
from metering import accounts, ledger_reading
from metering.clock_moves import move_clock
from metering.errors import InsufficientBalanceError
from services.gateway import operator_requests, resource_names
from services.gateway.callers import current_caller
from services.gateway.conversions import enum_number, to_money, to_timestamp
from services.gateway.errors import (
    already_exists,
    invalid_field,
    not_found,
    not_settled,
    unsupported_parameter,
)
from services.gateway.leaving_tenants import refuse_if_leaving
from services.gateway.once import once_key
from services.gateway.page_tokens import PageTokens
from services.gateway.pages import PageRequest
from services.gateway.scopes import named_tenant
from services.gateway.tenant_settings import settings_message, wanted_output_format
from services.gateway.tenant_settlement import what_is_unsettled
from services.jobs.model_catalogue import ModelCatalogue
from tenants.deletion_store import begin_deletion, lock_tenant_alone
from tenants.errors import TenantExistsError, TimeZoneRefusedError
from tenants.ids import OPERATOR_TENANT_ID, TenantId
from tenants.tenant_store import (
    NewTenant,
    Tenant,
    TenantState,
    get_tenant,
    insert_tenant,
    list_tenants,
    lock_tenant,
    set_default_output_format,
    update_tenant,
)
from tenants.time_zones import check_time_zone

_CREDIT_LIMIT: Final = "credit_limit"
_Context = grpc.aio.ServicerContext[Any, Any]
_CURRENCY_DEFAULT: Final = "USD"
_PRICE_BOOK_DEFAULT: Final = "standard"
_QUEUED_IMAGES_MAX_DEFAULT: Final = 100_000
_TIME_ZONE_DEFAULT: Final = "UTC"
# Less would be a device every few days.
_GPU_WEIGHT_MIN: Final = 0.01


class TenantService(tenant_service_pb2_grpc.TenantServiceServicer):
    """Serves the calls of TenantService."""

    def __init__(
        self,
        *,
        pool: Pool,
        operator_pool: Pool,
        catalogue: ModelCatalogue,
        page_tokens: PageTokens,
    ) -> None:
        self._pool = pool
        self._operator_pool = operator_pool
        self._catalogue = catalogue
        self._page_tokens = page_tokens

    async def CreateTenant(
        self, request: tenant_service_pb2.CreateTenantRequest, context: _Context
    ) -> tenant_service_pb2.Tenant:
        name = resource_names.TENANT.write(request.tenant_id)
        once = once_key(request, scope=name)
        new = self._new_tenant(request)
        async with transaction(self._operator_pool) as conn:
            if await operator_requests.claim(conn, once) is not None:
                made = await get_tenant(conn, new.tenant_id)
                if made is None:
                    raise not_found(name)
                return await _told(conn, made)
            await _check_time_zone(conn, new.time_zone)
            try:
                tenant = await insert_tenant(conn, new)
            except TenantExistsError:
                raise already_exists(name) from None
            await accounts.open_accounts(conn, tenant_id=new.tenant_id, currency=new.currency)
            await _set_credit_limit(conn, tenant, request.tenant)
            await operator_requests.complete(conn, once, name)
            return await _told(conn, tenant)

    async def GetTenant(
        self, request: tenant_service_pb2.GetTenantRequest, context: _Context
    ) -> tenant_service_pb2.Tenant:
        tenant_id = named_tenant(current_caller(), request.name)
        async with tenant_transaction(self._pool, tenant_id) as conn:
            tenant = await get_tenant(conn, tenant_id)
            if tenant is None:
                raise not_found(request.name)
            return await _told(conn, tenant)

    async def ListTenants(
        self, request: tenant_service_pb2.ListTenantsRequest, context: _Context
    ) -> tenant_service_pb2.ListTenantsResponse:
        pages = PageRequest(request, scope=OPERATOR_TENANT_ID, tokens=self._page_tokens)
        after = pages.position[0] if pages.position else ""
        async with transaction(self._operator_pool) as conn:
            tenants = await list_tenants(conn, limit=pages.limit, after=after)
            limits = await ledger_reading.credit_limits(
                conn, [tenant.tenant_id for tenant in tenants]
            )
        page = pages.page(tenants, position=lambda tenant: (tenant.tenant_id,))
        return tenant_service_pb2.ListTenantsResponse(
            tenants=[
                _tenant_message(tenant, limits.get(tenant.tenant_id, 0)) for tenant in page.rows
            ],
            next_page_token=page.next_page_token,
        )

    async def UpdateTenant(
        self, request: tenant_service_pb2.UpdateTenantRequest, context: _Context
    ) -> tenant_service_pb2.Tenant:
        paths = list(request.update_mask.paths)
        limits_credit = _CREDIT_LIMIT in paths
        changes = self._changes(request, [path for path in paths if path != _CREDIT_LIMIT])
        return await self._change(
            request.tenant.name,
            lambda old: replace(old, **changes),
            credit=request.tenant if limits_credit else None,
        )

    async def SuspendTenant(
        self, request: tenant_service_pb2.SuspendTenantRequest, context: _Context
    ) -> tenant_service_pb2.Tenant:
        return await self._change(
            request.name, lambda old: replace(old, state=TenantState.SUSPENDED)
        )

    async def ResumeTenant(
        self, request: tenant_service_pb2.ResumeTenantRequest, context: _Context
    ) -> tenant_service_pb2.Tenant:
        return await self._change(request.name, lambda old: replace(old, state=TenantState.ACTIVE))

    async def DeleteTenant(
        self, request: tenant_service_pb2.DeleteTenantRequest, context: _Context
    ) -> empty_pb2.Empty:
        tenant_id = named_tenant(current_caller(), request.name)
        async with transaction(self._operator_pool) as conn:
            await lock_tenant_alone(conn, tenant_id)
            tenant = await get_tenant(conn, tenant_id)
            if tenant is None:
                raise not_found(request.name)
            if not tenant.state.is_leaving:
                unsettled = await what_is_unsettled(conn, tenant, now=datetime.now(UTC))
                if unsettled:
                    raise not_settled(tenant.state, unsettled)
                if not request.validate_only:
                    await begin_deletion(conn, tenant_id)
        return empty_pb2.Empty()

    async def UpdateTenantSettings(
        self, request: tenant_service_pb2.UpdateTenantSettingsRequest, context: _Context
    ) -> tenant_service_pb2.Tenant:
        tenant_id = named_tenant(current_caller(), request.name)
        output_format = wanted_output_format(request)
        async with tenant_transaction(self._pool, tenant_id) as conn:
            tenant = await set_default_output_format(conn, tenant_id, output_format)
            if tenant is None:
                raise not_found(request.name)
            return await _told(conn, tenant)

    async def _change(
        self,
        name: str,
        changed: Callable[[Tenant], Tenant],
        *,
        credit: tenant_service_pb2.Tenant | None = None,
    ) -> tenant_service_pb2.Tenant:
        tenant_id = named_tenant(current_caller(), name)
        async with transaction(self._operator_pool) as conn:
            old = await lock_tenant(conn, tenant_id)
            if old is None:
                raise not_found(name)
            tenant = await update_tenant(conn, changed(refuse_if_leaving(old)))
            if tenant.time_zone != old.time_zone:
                await _check_time_zone(conn, tenant.time_zone)
                await move_clock(conn, old, tenant)
            if credit is not None:
                await _set_credit_limit(conn, tenant, credit)
            return await _told(conn, tenant)

    def _changes(
        self, request: tenant_service_pb2.UpdateTenantRequest, paths: Sequence[str]
    ) -> dict[str, Any]:
        """Read what the mask names; what cannot be changed is refused, not left out."""
        wanted = request.tenant
        values: dict[str, Callable[[], dict[str, Any]]] = {
            "display_name": lambda: {"display_name": _display_name(wanted)},
            "price_book": lambda: {"price_book": wanted.price_book or _PRICE_BOOK_DEFAULT},
            "legal_name": lambda: {"legal_name": wanted.legal_name},
            "postal_address": lambda: {"postal_address": wanted.postal_address},
            "vat_id": lambda: {"vat_id": wanted.vat_id},
            "time_zone": lambda: {"time_zone": wanted.time_zone or _TIME_ZONE_DEFAULT},
            "quotas.queued_images_max": lambda: {
                "queued_images_max": wanted.quotas.queued_images_max or _QUEUED_IMAGES_MAX_DEFAULT
            },
            "quotas.calls_per_minute_max": lambda: {
                "calls_per_minute_max": wanted.quotas.calls_per_minute_max or None
            },
            "quotas.calls_in_flight_max": lambda: {
                "calls_in_flight_max": wanted.quotas.calls_in_flight_max or None
            },
            "quotas.gpu_weight": lambda: {"gpu_weight": _gpu_weight(wanted.quotas)},
            "quotas.allowed_models": lambda: {
                "allowed_models": self._allowed_models(wanted.quotas)
            },
        }
        if not request.update_mask.paths:
            raise invalid_field("update_mask", "must name what to change")
        changes: dict[str, Any] = {}
        for path in paths:
            if path not in values:
                raise unsupported_parameter("update_mask", "names what cannot be changed")
            changes |= values[path]()
        return changes

    def _new_tenant(self, request: tenant_service_pb2.CreateTenantRequest) -> NewTenant:
        wanted = request.tenant
        for path, reason in _not_supported(wanted):
            raise unsupported_parameter(path, reason)
        return NewTenant(
            tenant_id=TenantId(request.tenant_id),
            display_name=wanted.display_name,
            currency=wanted.currency_code or _CURRENCY_DEFAULT,
            price_book=wanted.price_book or _PRICE_BOOK_DEFAULT,
            legal_name=wanted.legal_name,
            postal_address=wanted.postal_address,
            vat_id=wanted.vat_id,
            time_zone=wanted.time_zone or _TIME_ZONE_DEFAULT,
            allowed_models=self._allowed_models(wanted.quotas),
            queued_images_max=wanted.quotas.queued_images_max or _QUEUED_IMAGES_MAX_DEFAULT,
            calls_per_minute_max=wanted.quotas.calls_per_minute_max or None,
            calls_in_flight_max=wanted.quotas.calls_in_flight_max or None,
            gpu_weight=_gpu_weight(wanted.quotas),
        )

    def _allowed_models(self, quotas: tenant_service_pb2.TenantQuotas) -> list[str] | None:
        model_ids: list[str] = []
        for index, name in enumerate(quotas.allowed_models):
            parsed = resource_names.MODEL.parse(name)
            if parsed is None or parsed[0] not in self._catalogue:
                raise invalid_field(
                    f"tenant.quotas.allowed_models[{index}]", "is no model of this installation"
                )
            model_ids.append(parsed[0])
        return model_ids or None


def _not_supported(wanted: tenant_service_pb2.Tenant) -> Iterator[tuple[str, str]]:
    """Name what was asked for and cannot be had here; ignored in silence it would mislead."""
    if _is_set(wanted.settings):
        yield "tenant.settings", "are set by the tenant's own admin, with UpdateTenantSettings"


def _is_set(message: Message) -> bool:
    return message.ByteSize() > 0


def _gpu_weight(quotas: tenant_service_pb2.TenantQuotas) -> float:
    if 0 < quotas.gpu_weight < _GPU_WEIGHT_MIN:
        raise invalid_field("tenant.quotas.gpu_weight", f"must be at least {_GPU_WEIGHT_MIN}")
    return quotas.gpu_weight or 1.0


def _display_name(wanted: tenant_service_pb2.Tenant) -> str:
    if not wanted.display_name:
        raise invalid_field("tenant.display_name", "must be set")
    return wanted.display_name


async def _check_time_zone(conn: Connection, name: str) -> None:
    try:
        await check_time_zone(conn, name, now=datetime.now(UTC))
    except TimeZoneRefusedError as error:
        raise invalid_field("tenant.time_zone", error.reason) from None


async def _set_credit_limit(
    conn: Connection, tenant: Tenant, wanted: tenant_service_pb2.Tenant
) -> None:
    limit = wanted.credit_limit
    if limit.nanos and limit.currency_code != tenant.currency:
        raise invalid_field("tenant.credit_limit.currency_code", f"must be {tenant.currency}")
    try:
        await accounts.set_credit_limit(
            conn,
            tenant_id=tenant.tenant_id,
            currency=tenant.currency,
            credit_limit_nanos=limit.nanos,
        )
    except InsufficientBalanceError:
        raise invalid_field("tenant.credit_limit", "is less than what is held and owed") from None


async def _told(conn: Connection, tenant: Tenant) -> tenant_service_pb2.Tenant:
    limits = await ledger_reading.credit_limits(conn, [tenant.tenant_id])
    return _tenant_message(tenant, limits.get(tenant.tenant_id, 0))


def _tenant_message(tenant: Tenant, credit_limit_nanos: int) -> tenant_service_pb2.Tenant:
    return tenant_service_pb2.Tenant(
        name=resource_names.TENANT.write(tenant.tenant_id),
        display_name=tenant.display_name,
        state=enum_number(tenant_service_pb2.TenantState, tenant.state),
        currency_code=tenant.currency,
        price_book=tenant.price_book,
        legal_name=tenant.legal_name,
        postal_address=tenant.postal_address,
        vat_id=tenant.vat_id,
        time_zone=tenant.time_zone,
        credit_limit=to_money(credit_limit_nanos, tenant.currency) if credit_limit_nanos else None,
        quotas=tenant_service_pb2.TenantQuotas(
            queued_images_max=tenant.queued_images_max,
            calls_per_minute_max=tenant.calls_per_minute_max or 0,
            calls_in_flight_max=tenant.calls_in_flight_max or 0,
            gpu_weight=tenant.gpu_weight,
            allowed_models=[
                resource_names.MODEL.write(model) for model in tenant.allowed_models or ()
            ],
        ),
        settings=settings_message(tenant),
        create_time=to_timestamp(tenant.create_time),
        update_time=to_timestamp(tenant.update_time),
    )
