"""What operators may have done only once: their request ids lie under the name `operator`."""

from database.pool import Connection
from services.gateway.once import OnceKey
from services.jobs.requests import claim_request, complete_request
from tenants.ids import OPERATOR_TENANT_ID


async def claim(conn: Connection, once: OnceKey) -> str | None:
    """Claim a request id; returns the name of what was made when it came before.

    Raises:
        RequestIdReusedError: it came before with another request.
    """
    return await claim_request(
        conn,
        tenant_id=OPERATOR_TENANT_ID,
        request_id=once.request_id,
        method=once.method,
        body_sha256=once.body_sha256,
    )


async def complete(conn: Connection, once: OnceKey, resource_name: str) -> None:
    """Note what was made, in the transaction that made it."""
    await complete_request(
        conn,
        tenant_id=OPERATOR_TENANT_ID,
        request_id=once.request_id,
        resource_name=resource_name,
    )
