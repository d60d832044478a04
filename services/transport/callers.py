"""Who calls, by the certificate that grpc has verified before anything here is read."""

from collections.abc import Iterable, Mapping
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


async def require_worker(context: aio.ServicerContext[Any, Any]) -> TenantId:
    """Return whose worker calls."""
    caller = await require_role(context, ProcessRole.WORKER)
    assert caller.tenant_id is not None, "a worker is a tenant's"
    return caller.tenant_id
