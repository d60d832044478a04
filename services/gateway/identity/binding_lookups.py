"""What verified tokens open, as the database knows it, believed for less than a second."""

from dataclasses import dataclass
from typing import NewType

from database.pool import Pool, transaction
from services.gateway.callers import NO_LIMITS, CallLimits
from services.gateway.key_directory import StoredKeyDirectory
from services.gateway.key_lookups import Lookups
from tenants.identity_binding_store import find_bindings
from tenants.identity_bindings import (
    IdentityBinding,
    IdentityClaim,
    IdentityKey,
    decisive_binding,
    distinct_keys,
)
from tenants.ids import TenantId
from tenants.tenant_store import TenantState

# All that a token says that may be bound: the hashes of its claims, sorted, joined by commas. Alike
# for all tokens of one person, so that they share what was looked up.
IdentityName = NewType("IdentityName", str)


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingFacts:
    """What the database tells of who came with a token."""

    binding: IdentityBinding
    tenant_state: TenantState
    limits: CallLimits = NO_LIMITS

    @property
    def tenant_id(self) -> TenantId:
        """Whose door it opens."""
        return self.binding.tenant_id


BindingLookups = Lookups[IdentityName, BindingFacts]


def identity_name(claims: tuple[IdentityClaim, ...]) -> IdentityName:
    """Name what a token says."""
    return IdentityName(",".join(distinct_keys(claims)))


class StoredBindingDirectory:
    """Looks bindings up as ``atelier_gateway``, which sees the rows of the claims presented."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._tenants = StoredKeyDirectory(pool)

    async def find(self, name: IdentityName) -> BindingFacts | None:
        """Return what a token opens, None when that is nothing, or more than one tenant."""
        async with transaction(self._pool) as conn:
            bindings = await find_bindings(conn, map(IdentityKey, name.split(",")))
        binding = decisive_binding(bindings)
        if binding is None:
            return None
        tenant = await self._tenants.find_tenant(binding.tenant_id)
        if tenant is None:
            return None
        return BindingFacts(binding=binding, tenant_state=tenant.state, limits=tenant.limits)
