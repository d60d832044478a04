"""Identity bindings in the database: found by what a token says, made, listed, deleted.

Gateways hear of a deleted one as they hear of a revoked key, see `api_key_store.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from tenants.api_key_store import tell_gateways_of_tenant
from tenants.api_keys import Network, Role
from tenants.errors import BindingNotFoundError, IdentityBoundError
from tenants.identity_bindings import IdentityBinding, IdentityClaim, IdentityKey
from tenants.ids import BindingId, TenantId

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingToStore:
    """What is written of a new binding."""

    tenant_id: TenantId
    binding_id: BindingId
    claim: IdentityClaim
    role: Role
    project: str
    display_name: str
    allowed_networks: list[Network]


async def find_bindings(
    conn: AsyncConnection, identity_keys: Iterable[IdentityKey]
) -> list[IdentityBinding]:
    """Find what a token's claims are bound to, before its tenant is known.

    Row-level security shows this transaction those rows, because their hashes are set first.
    """
    keys = {"identity_keys": ",".join(identity_keys)}
    await conn.execute(_QUERIES["present_identity_keys"], keys)
    async with conn.cursor(row_factory=typed_row(IdentityBinding)) as cursor:
        await cursor.execute(_QUERIES["find_bindings"])
        return await cursor.fetchall()


async def insert_binding(conn: AsyncConnection, binding: BindingToStore) -> IdentityBinding:
    """Store a new binding.

    Raises:
        IdentityBoundError: that claim is bound already, in whichever tenant.
    """
    async with conn.cursor(row_factory=typed_row(IdentityBinding)) as cursor:
        await cursor.execute(
            _QUERIES["insert_binding"],
            {
                "tenant_id": binding.tenant_id,
                "binding_id": binding.binding_id,
                "identity_key": binding.claim.key,
                "issuer": binding.claim.issuer,
                "claim": binding.claim.claim,
                "claim_value": binding.claim.claim_value,
                "role": binding.role,
                "project": binding.project,
                "display_name": binding.display_name,
                # As texts, because psycopg takes no list that mixes networks of both families.
                "allowed_networks": [str(network) for network in binding.allowed_networks],
            },
        )
        row = await cursor.fetchone()
    if row is None:
        raise IdentityBoundError(binding.claim.claim_value)
    return row


async def get_binding(
    conn: AsyncConnection, *, tenant_id: TenantId, binding_id: BindingId
) -> IdentityBinding:
    """Return a binding of a tenant.

    Raises:
        BindingNotFoundError: the tenant has no such binding.
    """
    return await _one(conn, _QUERIES["get_binding"], tenant_id=tenant_id, binding_id=binding_id)


async def list_bindings(
    conn: AsyncConnection,
    tenant_id: TenantId,
    *,
    limit: int,
    before: tuple[datetime, BindingId] | None = None,
) -> list[IdentityBinding]:
    """List a tenant's bindings, newest first, before a (create_time, binding_id)."""
    before_time, before_binding_id = before or (None, None)
    async with conn.cursor(row_factory=typed_row(IdentityBinding)) as cursor:
        await cursor.execute(
            _QUERIES["list_bindings"],
            {
                "tenant_id": tenant_id,
                "before_time": before_time,
                "before_binding_id": before_binding_id,
                "limit": limit,
            },
        )
        return await cursor.fetchall()


async def delete_binding(
    conn: AsyncConnection, *, tenant_id: TenantId, binding_id: BindingId
) -> IdentityBinding:
    """Delete a binding and let gateways look again; answers with what it was.

    Raises:
        BindingNotFoundError: the tenant has no such binding.
    """
    deleted = await _one(
        conn, _QUERIES["delete_binding"], tenant_id=tenant_id, binding_id=binding_id
    )
    await tell_gateways_of_tenant(conn, tenant_id)
    return deleted


async def _one(
    conn: AsyncConnection, query: bytes, *, tenant_id: TenantId, binding_id: BindingId
) -> IdentityBinding:
    async with conn.cursor(row_factory=typed_row(IdentityBinding)) as cursor:
        await cursor.execute(query, {"tenant_id": tenant_id, "binding_id": binding_id})
        row = await cursor.fetchone()
    if row is None:
        raise BindingNotFoundError(binding_id)
    return row
