"""Whom an identity provider vouches for, and what that opens."""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from atelier.calls import Calls, new_request_id
from atelier.pages import entries_of_pages
from atelier.v1.identity_service_pb2 import (
    CreateIdentityBindingRequest,
    DeleteIdentityBindingRequest,
    IdentityBinding,
    ListIdentityBindingsRequest,
    ListIdentityBindingsResponse,
)
from atelier.v1.identity_service_pb2_grpc import IdentityServiceStub

if TYPE_CHECKING:
    from atelier.v1.identity_service_pb2_grpc import IdentityServiceAsyncStub


class IdentityCalls(Calls):
    """The calls of IdentityService."""

    async def create_identity_binding(
        self, identity_binding: IdentityBinding, *, request_id: str | None = None
    ) -> IdentityBinding:
        """Operator: bind what an issuer says of somebody to the client's `tenant`."""
        request = CreateIdentityBindingRequest(
            parent=self._parent(),
            identity_binding=identity_binding,
            request_id=new_request_id(request_id),
        )
        return await self._connection.call(self._identities().CreateIdentityBinding, request)

    def list_identity_bindings(self) -> AsyncGenerator[IdentityBinding, None]:
        """Yield what is bound to the tenant, newest first."""

        async def fetch(page_token: str) -> ListIdentityBindingsResponse:
            request = ListIdentityBindingsRequest(parent=self._parent(), page_token=page_token)
            return await self._connection.call(self._identities().ListIdentityBindings, request)

        return entries_of_pages(fetch, lambda page: page.identity_bindings)

    async def delete_identity_binding(self, identity_binding: str) -> IdentityBinding:
        """End a binding, everywhere within a second; answers with what it was."""
        request = DeleteIdentityBindingRequest(
            name=self._name("identityBindings", identity_binding)
        )
        return await self._connection.call(self._identities().DeleteIdentityBinding, request)

    def _identities(self) -> "IdentityServiceAsyncStub":
        return IdentityServiceStub(self._connection.channel)
