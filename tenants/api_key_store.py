"""API keys in the database: found by id, made, listed, rotated, revoked.

Gateways hold what they looked up for a fraction of a second. A change is told to them (NOTIFY, with
the commit), so that they look again at once; if the word is lost, that fraction is the bound.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from tenants.api_keys import Network, NewKey, Role, StoredKey
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
    allowed_networks: list[Network]
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
        # As texts, because psycopg takes no list that mixes networks of both families.
        networks = [str(network) for network in key.allowed_networks]
        await cursor.execute(_QUERIES["insert_key"], asdict(key) | {"allowed_networks": networks})
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


async def rotate_key(
    conn: AsyncConnection,
    *,
    tenant_id: TenantId,
    new: NewKey,
    old_secret_expire_time: datetime | None,
) -> StoredKey:
    """Give a key that the caller has locked a new secret.

    The old one works until ``old_secret_expire_time``, None: no longer; the one before it, no more.
    """
    async with conn.cursor(row_factory=typed_row(StoredKey)) as cursor:
        await cursor.execute(
            _QUERIES["rotate_key"],
            {
                "tenant_id": tenant_id,
                "key_id": new.key_id,
                "secret_hmac": new.secret_hmac,
                "old_secret_expire_time": old_secret_expire_time,
            },
        )
        row = await cursor.fetchone()
    assert row is not None, "the caller has locked its row"
    await _tell_gateways(conn, new.key_id)
    return row


async def lock_key(conn: AsyncConnection, *, tenant_id: TenantId, key_id: KeyId) -> StoredKey:
    """Find a key and keep others from changing it until the transaction's end.

    Raises:
        KeyNotFoundError: the tenant has no such key.
    """
    async with conn.cursor(row_factory=typed_row(StoredKey)) as cursor:
        await cursor.execute(_QUERIES["lock_key"], {"tenant_id": tenant_id, "key_id": key_id})
        row = await cursor.fetchone()
    if row is None:
        raise KeyNotFoundError(key_id)
    return row


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
    await _tell_gateways(conn, key_id)
    return row


async def tell_gateways_of_tenant(conn: AsyncConnection, tenant_id: TenantId) -> None:
    """Let gateways look again at all keys of a tenant: what it may do has changed."""
    await _tell_gateways(conn, subject_of_tenant(tenant_id))


def subject_of_tenant(tenant_id: TenantId) -> str:
    """Write the subject of news about all keys of a tenant; no key id has a slash."""
    return f"tenants/{tenant_id}"


async def _tell_gateways(conn: AsyncConnection, subject: str) -> None:
    await conn.execute(_QUERIES["tell_gateways"], {"subject": subject})
