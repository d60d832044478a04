"""Tenants that are being deleted, or were: nothing is added to them any more."""

from database.pool import Connection
from services.gateway.errors import invalid_state, not_found
from tenants.ids import TenantId
from tenants.tenant_store import Tenant, get_tenant_to_order


async def staying_tenant(conn: Connection, tenant_id: TenantId, name: str) -> Tenant:
    """Find a tenant that something is added to; until that is done it cannot be deleted.

    Raises:
        CallRefusedError: RESOURCE_NOT_FOUND by the name that the caller gave, or it is leaving.
    """
    tenant = await get_tenant_to_order(conn, tenant_id)
    if tenant is None:
        raise not_found(name)
    return refuse_if_leaving(tenant)


def refuse_if_leaving(tenant: Tenant) -> Tenant:
    """Return the tenant if it stays.

    Raises:
        CallRefusedError: INVALID_STATE_TRANSITION; it does not.
    """
    if tenant.state.is_leaving:
        raise invalid_state(f"the tenant is {tenant.state}", state=tenant.state)
    return tenant
