"""Who calls: what the rest of the gateway knows once a key has passed."""

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from services.gateway.errors import address_not_allowed, not_found
from services.gateway.peer_addresses import Address, is_within
from tenants.api_keys import Network, Role
from tenants.ids import KeyId, TenantId

# In a resource name it stands for the tenant of the key.
OWN_TENANT: Final = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """What an operator has set for one tenant; None: what the installation has."""

    calls_per_minute_max: int | None = None
    calls_in_flight_max: int | None = None


NO_LIMITS: Final = CallLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The holder of a key; an operator's ``tenant_id`` is ``operator``, which is no tenant."""

    tenant_id: TenantId
    key_id: KeyId
    role: Role
    project: str
    # The tenant may read, not order.
    suspended: bool
    # Empty: from anywhere.
    allowed_networks: Sequence[Network] = ()
    limits: CallLimits = NO_LIMITS
    # Who signed the caller's token and whom it is of; empty for keys and certificates.
    issuer: str = ""
    subject: str = ""

    def check_address(self, address: Address | None) -> None:
        """Let a caller pass who calls from where its key may be used.

        Raises:
            CallRefusedError: ADDRESS_NOT_ALLOWED; also when the address is not known.
        """
        networks = self.allowed_networks
        if networks and (address is None or not is_within(address, networks)):
            raise address_not_allowed(str(address or ""))

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
