"""Tenants and their keys."""

from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from google.protobuf.field_mask_pb2 import FieldMask

from atelier.calls import Calls, new_request_id
from atelier.names import tenant_name
from atelier.pages import entries_of_pages
from atelier.v1.api_key_service_pb2 import (
    ApiKey,
    CreateApiKeyRequest,
    CreateApiKeyResponse,
    ListApiKeysRequest,
    ListApiKeysResponse,
    RevokeApiKeyRequest,
    RotateApiKeyRequest,
    RotateApiKeyResponse,
)
from atelier.v1.api_key_service_pb2_grpc import ApiKeyServiceStub
from atelier.v1.tenant_service_pb2 import (
    CreateTenantRequest,
    DeleteTenantRequest,
    GetTenantRequest,
    ListTenantsRequest,
    ListTenantsResponse,
    ResumeTenantRequest,
    SuspendTenantRequest,
    Tenant,
    TenantSettings,
    UpdateTenantRequest,
    UpdateTenantSettingsRequest,
)
from atelier.v1.tenant_service_pb2_grpc import TenantServiceStub

if TYPE_CHECKING:
    from atelier.v1.api_key_service_pb2_grpc import ApiKeyServiceAsyncStub
    from atelier.v1.tenant_service_pb2_grpc import TenantServiceAsyncStub


class TenantCalls(Calls):
    """The calls of TenantService and ApiKeyService."""

    async def create_tenant(
        self, tenant_id: str, tenant: Tenant, *, request_id: str | None = None
    ) -> Tenant:
        """Operator: make a tenant."""
        request = CreateTenantRequest(
            tenant_id=tenant_id, tenant=tenant, request_id=new_request_id(request_id)
        )
        return await self._connection.call(self._tenants().CreateTenant, request)

    async def get_tenant(self, tenant: str | None = None) -> Tenant:
        """Get a tenant; without a name the client's own."""
        request = GetTenantRequest(name=tenant_name(tenant or self._tenant))
        return await self._connection.call(self._tenants().GetTenant, request)

    def list_tenants(self) -> AsyncGenerator[Tenant, None]:
        """Operator: yield all tenants by name."""

        async def fetch(page_token: str) -> ListTenantsResponse:
            return await self._connection.call(
                self._tenants().ListTenants, ListTenantsRequest(page_token=page_token)
            )

        return entries_of_pages(fetch, lambda page: page.tenants)

    async def update_tenant(self, tenant: Tenant, fields: Sequence[str]) -> Tenant:
        """Operator: change the named fields of a tenant to the values given."""
        request = UpdateTenantRequest(tenant=tenant, update_mask=FieldMask(paths=fields))
        return await self._connection.call(self._tenants().UpdateTenant, request)

    async def suspend_tenant(self, tenant: str) -> Tenant:
        """Operator: the tenant may read and no longer order."""
        request = SuspendTenantRequest(name=tenant_name(tenant))
        return await self._connection.call(self._tenants().SuspendTenant, request)

    async def resume_tenant(self, tenant: str) -> Tenant:
        """Operator: the tenant may order again."""
        request = ResumeTenantRequest(name=tenant_name(tenant))
        return await self._connection.call(self._tenants().ResumeTenant, request)

    async def delete_tenant(self, tenant: str, *, validate_only: bool = False) -> None:
        """Operator: delete a tenant's rows and pictures. Not to be undone.

        It must be suspended and settled. With ``validate_only`` it is only asked whether it is.
        """
        request = DeleteTenantRequest(name=tenant_name(tenant), validate_only=validate_only)
        await self._connection.call(self._tenants().DeleteTenant, request)

    async def update_tenant_settings(
        self, settings: TenantSettings, fields: Sequence[str]
    ) -> Tenant:
        """Change what a tenant's admin may set."""
        request = UpdateTenantSettingsRequest(
            name=self._parent(), settings=settings, update_mask=FieldMask(paths=fields)
        )
        return await self._connection.call(self._tenants().UpdateTenantSettings, request)

    async def create_api_key(
        self, api_key: ApiKey, *, request_id: str | None = None
    ) -> CreateApiKeyResponse:
        """Make a key. Keep the answer's secret: it is not shown again."""
        request = CreateApiKeyRequest(
            parent=self._parent(), api_key=api_key, request_id=new_request_id(request_id)
        )
        return await self._connection.call(self._api_keys().CreateApiKey, request)

    def list_api_keys(self) -> AsyncGenerator[ApiKey, None]:
        """Yield keys without their secrets, newest first."""

        async def fetch(page_token: str) -> ListApiKeysResponse:
            request = ListApiKeysRequest(parent=self._parent(), page_token=page_token)
            return await self._connection.call(self._api_keys().ListApiKeys, request)

        return entries_of_pages(fetch, lambda page: page.api_keys)

    async def rotate_api_key(
        self, api_key: str, *, grace: timedelta | None = None, request_id: str | None = None
    ) -> RotateApiKeyResponse:
        """Give a key a new secret; the old one works for the grace time.

        Without one, as long as the installation has set.
        """
        request = RotateApiKeyRequest(
            name=self._name("apiKeys", api_key), request_id=new_request_id(request_id)
        )
        if grace is not None:
            request.grace.FromTimedelta(grace)
        return await self._connection.call(self._api_keys().RotateApiKey, request)

    async def revoke_api_key(self, api_key: str) -> ApiKey:
        """End a key, everywhere within a second."""
        request = RevokeApiKeyRequest(name=self._name("apiKeys", api_key))
        return await self._connection.call(self._api_keys().RevokeApiKey, request)

    def _tenants(self) -> "TenantServiceAsyncStub":
        return TenantServiceStub(self._connection.channel)

    def _api_keys(self) -> "ApiKeyServiceAsyncStub":
        return ApiKeyServiceStub(self._connection.channel)
