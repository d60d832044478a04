"""Deletions of tenants: when each was asked for, and how far it has come.

The tenant's own row stays as a tombstone, so that its id is never given again.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from tenants.api_key_store import tell_gateways_of_tenant
from tenants.ids import TenantId

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """One that has not ended yet."""

    tenant_id: TenantId
    delete_time: datetime
    # When its processes, its broker's data and its sockets were gone; None: not yet.
    clear_time: datetime | None


async def lock_tenant_alone(conn: AsyncConnection, tenant_id: TenantId) -> None:
    """Wait for whoever is adding to a tenant, and keep others from it until the transaction's end.

    Unlike ``lock_tenant`` also from what only refers to it, such as a new job.
    """
    await conn.execute(_QUERIES["lock_tenant_alone"], {"tenant_id": tenant_id})


async def begin_deletion(conn: AsyncConnection, tenant_id: TenantId) -> None:
    """Let a suspended tenant leave: no key of it opens any more, and it cannot come back."""
    tenant = {"tenant_id": tenant_id}
    await conn.execute(_QUERIES["let_leave"], tenant)
    await conn.execute(_QUERIES["revoke_keys"], tenant)
    await conn.execute(_QUERIES["insert_deletion"], tenant)
    await tell_gateways_of_tenant(conn, tenant_id)


async def open_deletions(conn: AsyncConnection, *, grace_seconds: float) -> list[Deletion]:
    """List deletions that were asked for at least so long ago and have not ended, oldest first."""
    async with conn.cursor(row_factory=typed_row(Deletion)) as cursor:
        await cursor.execute(_QUERIES["open_deletions"], {"grace_seconds": grace_seconds})
        return await cursor.fetchall()


async def forget_keys(conn: AsyncConnection, tenant_id: TenantId) -> None:
    """Delete a tenant's keys and what binds people to it, with names, projects and networks."""
    await conn.execute(_QUERIES["forget_keys"], {"tenant_id": tenant_id})
    await conn.execute(_QUERIES["forget_bindings"], {"tenant_id": tenant_id})


async def end_deletion(conn: AsyncConnection, tenant_id: TenantId) -> None:
    """Empty what is left of the tenant's own row, and say that nothing else is left."""
    await conn.execute(_QUERIES["become_tombstone"], {"tenant_id": tenant_id})
    await conn.execute(_QUERIES["end_deletion"], {"tenant_id": tenant_id})
