"""Who calls, by the certificate that grpc has verified before anything here is read."""

from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc
import structlog
from grpc import aio

from services.transport.errors import IdentityUnclearError
from services.transport.identities import Identity, ProcessRole, parse_identity
from tenants.ids import TenantId

# The URIs alone, not all SANs: a name of another kind that reads like ours names nobody.
_URIS: Final = "peer_uri"

log = structlog.get_logger()


def certificate_uris(auth_context: Mapping[str, Iterable[bytes]]) -> set[str]:
    """Return the URIs among the SANs of the caller's certificate; none without a certificate."""
    return {uri.decode("utf-8", errors="replace") for uri in auth_context.get(_URIS, ())}


async def require_role(context: aio.ServicerContext[Any, Any], role: ProcessRole) -> Identity:
    """Return who calls; whoever has another role is refused with PERMISSION_DENIED."""
    try:
        caller = parse_identity(certificate_uris(context.auth_context()))
    except IdentityUnclearError as error:
        log.warning("caller_refused", reason=str(error))
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, str(error))
    if caller.role is not role:
        log.warning("caller_refused", caller=caller.uri, wanted=role)
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"this is for a {role} alone")
    return caller


class WorkerCalls:
    """Counts the calls of each tenant's workers, so that none takes the places of the others."""

    def __init__(self, *, per_tenant_max: int) -> None:
        self._per_tenant_max = per_tenant_max
        self._calls: Counter[TenantId] = Counter()

    @asynccontextmanager
    async def one(self, context: aio.ServicerContext[Any, Any]) -> AsyncGenerator[TenantId]:
        """Yield whose worker calls; with as many calls at once as a socket admits it is refused."""
        caller = await require_role(context, ProcessRole.WORKER)
        tenant_id = caller.tenant_id
        assert tenant_id is not None, "a worker is a tenant's"
        if self._calls[tenant_id] >= self._per_tenant_max:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls at once")
        self._calls[tenant_id] += 1
        try:
            yield tenant_id
        finally:
            self._calls[tenant_id] -= 1
