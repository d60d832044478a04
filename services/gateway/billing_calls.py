"""What every call about money works with."""

from collections.abc import Callable
from datetime import datetime, timedelta

from atelier.v1 import billing_service_pb2_grpc
from database.pool import Connection, Pool
from metering.invoice_drafts import Issuer
from services.gateway.errors import not_found
from services.gateway.margin_reports import MarginReports
from services.gateway.page_tokens import PageTokens
from tenants.ids import TenantId
from tenants.tenant_store import Tenant, get_tenant


class BillingCalls(billing_service_pb2_grpc.BillingServiceServicer):
    """Where a part of BillingService gets its connections, its clock and its issuer from."""

    def __init__(
        self,
        *,
        pool: Pool,
        operator_pool: Pool,
        issuer: Issuer,
        invoice_grace: timedelta,
        page_tokens: PageTokens,
        now: Callable[[], datetime],
    ) -> None:
        self._pool = pool
        self._operator_pool = operator_pool
        self._issuer = issuer
        self._invoice_grace = invoice_grace
        self._page_tokens = page_tokens
        self._now = now
        self._margin_reports = MarginReports()


async def existing_tenant(conn: Connection, tenant_id: TenantId, name: str) -> Tenant:
    """Find the tenant that a name speaks of, or refuse the call."""
    tenant = await get_tenant(conn, tenant_id)
    if tenant is None:
        raise not_found(name)
    return tenant
