"""Which of our processes a certificate names: one URI among its SANs, as SPIFFE has it.

Whoever issues these certificates decides who is who; nothing that a message says does.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.transport.errors import IdentityUnclearError
from tenants.ids import TENANT_ID_PATTERN, TenantId


class ProcessRole(StrEnum):
    """The processes that speak over TCP; the first two are a tenant's, the others the system's."""

    WORKER = "worker"
    BROKER = "broker"
    GATEWAY = "gateway"
    RECORDER = "recorder"
    METER = "meter"
    FLEET = "fleet"
    HOUSEKEEPER = "housekeeper"
    # Not ours: it asks the fleet how much work there is.
    KEDA = "keda"


_TENANTS_OWN: Final = frozenset({ProcessRole.WORKER, ProcessRole.BROKER})
_ROOT: Final = "spiffe://atelier"
_NAME: Final = re.compile(
    rf"{_ROOT}/(?:tenant/(?P<tenant>{TENANT_ID_PATTERN})|system)/(?P<role>[a-z]+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who a process is; ``tenant_id`` is None for the system's own."""

    role: ProcessRole
    tenant_id: TenantId | None = None

    @property
    def uri(self) -> str:
        """As its certificate says it."""
        place = "system" if self.tenant_id is None else f"tenant/{self.tenant_id}"
        return f"{_ROOT}/{place}/{self.role}"


def parse_identity(uris: Collection[str]) -> Identity:
    """Return whom a certificate with these URIs names.

    Raises:
        IdentityUnclearError: none of our processes, or more than one name.
    """
    if len(uris) != 1:
        raise IdentityUnclearError(f"a certificate names its process by one URI, not {len(uris)}")
    (uri,) = uris
    match = _NAME.fullmatch(uri)
    if match is None or match["role"] not in [*ProcessRole]:
        raise IdentityUnclearError("the certificate's URI names no process of ours")
    role, tenant = ProcessRole(match["role"]), match["tenant"]
    if (tenant is not None) != (role in _TENANTS_OWN):
        raise IdentityUnclearError(f"no {role} is called like that")
    return Identity(role=role, tenant_id=None if tenant is None else TenantId(tenant))
