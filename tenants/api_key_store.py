"""API keys in the database: found by id, made, listed, revoked."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from tenants.api_keys import Role, StoredKey
from tenants.errors import KeyNotFoundError
from tenants.ids import KeyId, TenantId

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyToStore:
    """What is written of a new key."""

    tenant_id: TenantId
    key_id: KeyId
    display_name: str
    role: Role
    project: str
    secret_hmac: bytes
    expire_time: datetime | None


async def find_key(conn: AsyncConnection, key_id: KeyId) -> StoredKey | None:
    """Find the key a caller presented, before its tenant is known.

    Row-level security shows this transaction that one row, because its id is set first.
    """
    await conn.execute(_QUERIES["present_key_id"], {"key_id": key_id})
    async with conn.cursor(row_factory=typed_row(StoredKey)) as cursor:
        await cursor.execute(_QUERIES["find_key"], {"key_id": key_id})
        return await cursor.fetchone()


async def insert_key(conn: AsyncConnection, key: KeyToStore) -> StoredKey:
    """Store a new key."""
    async with conn.cursor(row_factory=typed_row(StoredKey)) as cursor:
        await cursor.execute(
            _QUERIES["insert_key"],
            {
                "tenant_id": key.tenant_id,
                "key_id": key.key_id,
                "display_name": key.display_name,
                "role": key.role,
                "project": key.project,
                "secret_hmac": key.secret_hmac,
                "expire_time": key.expire_time,
            },
        )
        row = await cursor.fetchone()
    assert row is not None, "INSERT … RETURNING gives a row or raises"
    return row


async def list_keys(
    conn: AsyncConnection,
    tenant_id: TenantId,
    *,
    limit: int,
    before: tuple[datetime, KeyId] | None = None,
) -> list[StoredKey]:
    """List a tenant's keys, newest first, before a (create_time, key_id)."""
    before_time, before_key_id = before or (None, None)
    async with conn.cursor(row_factory=typed_row(StoredKey)) as cursor:
        await cursor.execute(
            _QUERIES["list_keys"],
            {
                "tenant_id": tenant_id,
                "before_time": before_time,
                "before_key_id": before_key_id,
                "limit": limit,
            },
        )
        return await cursor.fetchall()


async def revoke_key(conn: AsyncConnection, *, tenant_id: TenantId, key_id: KeyId) -> StoredKey:
    """Revoke a key for good; revoking it again changes nothing.

    Raises:
        KeyNotFoundError: the tenant has no such key.
    """
    async with conn.cursor(row_factory=typed_row(StoredKey)) as cursor:
        await cursor.execute(_QUERIES["revoke_key"], {"tenant_id": tenant_id, "key_id": key_id})
        row = await cursor.fetchone()
    if row is None:
        raise KeyNotFoundError(key_id)
    return row
