"""Keys as the database knows them, with the state of their tenants."""

from database.pool import Pool, tenant_transaction, transaction
from services.gateway.callers import CallLimits
from services.gateway.key_lookups import KeyFacts, TenantFacts
from tenants.api_key_store import find_key
from tenants.api_keys import Role
from tenants.ids import KeyId, TenantId
from tenants.tenant_store import get_tenant


class StoredKeyDirectory:
    """Looks keys up as ``atelier_gateway``, which sees the one row whose id was presented."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, key_id: KeyId) -> KeyFacts | None:
        """Return the facts of a key, None when there is no such key or its tenant is gone."""
        async with transaction(self._pool) as conn:
            key = await find_key(conn, key_id)
        if key is None:
            return None
        if key.role == Role.OPERATOR:
            return KeyFacts(key=key, tenant_state=None)
        tenant = await self.find_tenant(key.tenant_id)
        if tenant is None:
            return None
        return KeyFacts(key=key, tenant_state=tenant.state, limits=tenant.limits)

    async def find_tenant(self, tenant_id: TenantId) -> TenantFacts | None:
        """Return the facts of a tenant; None when there is none, or it is being deleted."""
        async with tenant_transaction(self._pool, tenant_id) as conn:
            tenant = await get_tenant(conn, tenant_id)
        if tenant is None or tenant.state.is_leaving:
            return None
        limits = CallLimits(
            calls_per_minute_max=tenant.calls_per_minute_max,
            calls_in_flight_max=tenant.calls_in_flight_max,
        )
        return TenantFacts(state=tenant.state, limits=limits)
