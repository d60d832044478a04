"""Who did what, and when; for a tenant's admins and the operator."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import TYPE_CHECKING

from atelier.calls import Calls, timestamp
from atelier.pages import entries_of_pages
from atelier.v1.audit_service_pb2 import (
    AuditEvent,
    ListAuditEventsRequest,
    ListAuditEventsResponse,
)
from atelier.v1.audit_service_pb2_grpc import AuditServiceStub

if TYPE_CHECKING:
    from atelier.v1.audit_service_pb2_grpc import AuditServiceAsyncStub


class AuditCalls(Calls):
    """The calls of AuditService."""

    def list_audit_events(
        self,
        *,
        method: str = "",
        api_key: str = "",
        resource_name: str = "",
        refused_only: bool = False,
        start_time: datetime | None = None,
        end_time: datetime | None = None,
    ) -> AsyncGenerator[AuditEvent, None]:
        """Yield what changed the tenant or was refused, newest first; for an operator, all tenants.

        `method` is a call as `JobService/CreateJob`.
        """

        async def fetch(page_token: str) -> ListAuditEventsResponse:
            request = ListAuditEventsRequest(
                parent=self._parent(),
                page_token=page_token,
                method=method,
                api_key=self._name("apiKeys", api_key) if api_key else "",
                resource_name=resource_name,
                refused_only=refused_only,
                start_time=timestamp(start_time),
                end_time=timestamp(end_time),
            )
            return await self._connection.call(self._audit().ListAuditEvents, request)

        return entries_of_pages(fetch, lambda page: page.audit_events)

    def _audit(self) -> "AuditServiceAsyncStub":
        return AuditServiceStub(self._connection.channel)
