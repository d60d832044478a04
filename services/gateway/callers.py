"""Who calls: what the rest of the gateway knows once a key has passed."""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from services.gateway.errors import not_found
from tenants.api_keys import Role
from tenants.ids import KeyId, TenantId

# In a resource name it stands for the tenant of the key.
OWN_TENANT: Final = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The holder of a key; an operator's ``tenant_id`` is ``operator``, which is no tenant."""

    tenant_id: TenantId
    key_id: KeyId
    role: Role
    project: str
    # The tenant may read, not order.
    suspended: bool

    @property
    def is_operator(self) -> bool:
        """Operators serve all tenants and belong to none."""
        return self.role is Role.OPERATOR


# Set by the call guard for the task that runs one call, so that servicers keep grpc's signatures.
CURRENT_CALLER: ContextVar[Caller] = ContextVar("current_caller")


def current_caller() -> Caller:
    """Return the caller of the call that is being served."""
    return CURRENT_CALLER.get()


def reachable_tenant(caller: Caller, named: str, *, resource_name: str) -> TenantId:
    """Return the tenant a name belongs to, if the caller may know that it exists.

    ``-`` means the caller's own. An operator's own is ``operator``, which holds keys and no jobs.

    Raises:
        CallRefusedError: NOT_FOUND, word for word what a missing resource gives.
    """
    if named in {OWN_TENANT, caller.tenant_id}:
        return caller.tenant_id
    if caller.is_operator:
        return TenantId(named)
    raise not_found(resource_name)
