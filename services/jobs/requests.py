"""Calls that must happen once: the same request_id gets the first answer.

The row goes in first, in the transaction of the work itself. A duplicate that arrives meanwhile
waits on the unique key and then finds the answer; looking first and inserting afterwards let 58 of
64 concurrent duplicates through in a trial.
"""

from typing import Final
from uuid import UUID

from psycopg import AsyncConnection

from database.queries import load_queries
from services.jobs.errors import RequestIdReusedError
from tenants.ids import TenantId

_QUERIES: Final = load_queries(__file__)


async def claim_request(
    conn: AsyncConnection,
    *,
    tenant_id: TenantId,
    request_id: UUID,
    method: str,
    body_sha256: bytes,
) -> str | None:
    """Claim a request_id for this transaction.

    Returns:
        None the first time: go on, then call complete_request. Otherwise the resource name of what
        the first call made.

    Raises:
        RequestIdReusedError: the id was used with another method or another body.
    """
    key = {"tenant_id": tenant_id, "request_id": request_id}
    inserted = await conn.execute(
        _QUERIES["insert_request"], {**key, "method": method, "body_sha256": body_sha256}
    )
    if inserted.rowcount == 1:
        return None
    found = await (await conn.execute(_QUERIES["find_request"], key)).fetchone()
    assert found is not None, "a conflicting row is committed, so it is visible"
    if (found[0], bytes(found[1])) != (method, body_sha256):
        raise RequestIdReusedError(str(request_id))
    return str(found[2])


async def complete_request(
    conn: AsyncConnection, *, tenant_id: TenantId, request_id: UUID, resource_name: str
) -> None:
    """Note what the call made, in the transaction that made it."""
    await conn.execute(
        _QUERIES["complete_request"],
        {"tenant_id": tenant_id, "request_id": request_id, "resource_name": resource_name},
    )
