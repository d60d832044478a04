"""The chain of hashes over a tenant's transfers: sealed in blocks, and proven from the beginning.

A transfer that was changed or taken away after it was sealed no longer has the hash that its block
was made of, and every block carries the hash of the one before it.
"""

from dataclasses import dataclass
from typing import Final, TypeVar

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from database.queries import load_queries
from database.rows import typed_row
from metering.invariants import check_invariants
from tenants.ids import TenantId

_QUERIES: Final = load_queries(__file__)
# A block is made by one statement: a second of work at most.
BLOCK_TRANSFERS_MAX: Final = 10_000
_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerProof:
    """What a look at the whole ledger of a tenant found; None when nothing is wrong."""

    transfer_count: int
    block_count: int
    first_inconsistency: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    transfer_count: int
    block_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _ChangedTransfer:
    transfer_id: int
    block_number: int
    is_gone: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    kind: str
    currency: str


async def tenants_to_seal(conn: AsyncConnection) -> list[TenantId]:
    """List tenants that have transfers in no block."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["tenants_to_seal"])
        return await cursor.fetchall()


async def seal_block(
    conn: AsyncConnection, tenant_id: TenantId, *, limit: int = BLOCK_TRANSFERS_MAX
) -> int:
    """Seal what a tenant has in no block; one at a time may do so.

    Returns:
        How many transfers the new block has; 0 when there was nothing to seal.
    """
    count = await _first(conn, _QUERIES["seal_block"], tenant_id=tenant_id, limit=limit)
    return count or 0


async def verify_ledger(conn: AsyncConnection, tenant_id: TenantId) -> LedgerProof:
    """Derive hashes, chain and balances of a tenant anew and name the first thing that is wrong.

    Call it in a transaction that looks at one instant and sees this tenant alone.
    """
    counts = await _first_row(conn, _QUERIES["count_chain"], _Counts, tenant_id=tenant_id)
    assert counts is not None, "count(*) gives a row"
    return LedgerProof(
        transfer_count=counts.transfer_count,
        block_count=counts.block_count,
        first_inconsistency=await _first_inconsistency(conn, tenant_id),
    )


async def _first_inconsistency(conn: AsyncConnection, tenant_id: TenantId) -> str | None:
    return (
        await _changed_transfer(conn, tenant_id)
        or await _broken_block(conn, tenant_id)
        or await _unlisted_transfer(conn, tenant_id)
        or await _wrong_balance(conn, tenant_id)
        or await _violated_invariant(conn)
    )


async def _changed_transfer(conn: AsyncConnection, tenant_id: TenantId) -> str | None:
    found = await _first_row(
        conn, _QUERIES["first_changed_transfer"], _ChangedTransfer, tenant_id=tenant_id
    )
    if found is None:
        return None
    fate = "is gone" if found.is_gone else "was changed"
    return f"transfer {found.transfer_id} {fate} since block {found.block_number} sealed it"


async def _broken_block(conn: AsyncConnection, tenant_id: TenantId) -> str | None:
    block_number = await _first(conn, _QUERIES["first_broken_block"], tenant_id=tenant_id)
    if block_number is None:
        return None
    return f"block {block_number} does not hold what it was made of, or not in its place"


async def _unlisted_transfer(conn: AsyncConnection, tenant_id: TenantId) -> str | None:
    transfer_id = await _first(conn, _QUERIES["first_unlisted_transfer"], tenant_id=tenant_id)
    return None if transfer_id is None else f"transfer {transfer_id} escaped the chain"


async def _wrong_balance(conn: AsyncConnection, tenant_id: TenantId) -> str | None:
    account = await _first_row(conn, _QUERIES["first_wrong_balance"], _Account, tenant_id=tenant_id)
    if account is None:
        return None
    return f"account {account.kind} in {account.currency} is not the sum of its transfers"


async def _violated_invariant(conn: AsyncConnection) -> str | None:
    violations = await check_invariants(conn)
    return next((f"{name}: {count}" for name, count in violations.items() if count), None)


async def _first(conn: AsyncConnection, query: bytes, **parameters: object) -> int | None:
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchone()


async def _first_row(
    conn: AsyncConnection, query: bytes, row_type: type[_Found], **parameters: object
) -> _Found | None:
    async with conn.cursor(row_factory=typed_row(row_type)) as cursor:
        await cursor.execute(query, parameters)
        return await cursor.fetchone()
