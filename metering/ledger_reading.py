"""What the ledger says: wallets, transfers, limits and sums; nothing here moves money."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from metering.ledger import Transfer
from tenants.ids import TenantId

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """A wallet in nanos of its currency, net of tax."""

    tenant_id: TenantId
    currency: str
    credited_nanos: int
    held_nanos: int
    spent_nanos: int
    credit_limit_nanos: int

    @property
    def available_nanos(self) -> int:
        """What a new hold may still take."""
        return self.credited_nanos + self.credit_limit_nanos - self.held_nanos - self.spent_nanos


async def credit_limits(
    conn: AsyncConnection, tenant_ids: Sequence[TenantId]
) -> dict[TenantId, int]:
    """How far below zero wallets may go, in nanos; tenants that may not are left out."""
    cursor = await conn.execute(_QUERIES["credit_limits"], {"tenant_ids": list(tenant_ids)})
    return {TenantId(tenant_id): limit for tenant_id, limit in await cursor.fetchall()}


async def get_balance(
    conn: AsyncConnection, *, tenant_id: TenantId, currency: str
) -> Balance | None:
    """Read a wallet; None when the tenant has none in that currency."""
    async with conn.cursor(row_factory=typed_row(Balance)) as cursor:
        await cursor.execute(
            _QUERIES["get_balance"], {"tenant_id": tenant_id, "currency": currency}
        )
        return await cursor.fetchone()


async def get_transfer(
    conn: AsyncConnection, *, tenant_id: TenantId, transfer_id: int
) -> Transfer | None:
    """Find one of a tenant's transfers."""
    async with conn.cursor(row_factory=typed_row(Transfer)) as cursor:
        await cursor.execute(
            _QUERIES["get_transfer"], {"tenant_id": tenant_id, "transfer_id": transfer_id}
        )
        return await cursor.fetchone()


async def list_transfers(
    conn: AsyncConnection,
    *,
    tenant_id: TenantId,
    limit: int,
    before: int | None = None,
    start_time: datetime | None = None,
    end_time: datetime | None = None,
) -> list[Transfer]:
    """List a tenant's transfers, newest first, before one; booked from a time up to another."""
    async with conn.cursor(row_factory=typed_row(Transfer)) as cursor:
        await cursor.execute(
            _QUERIES["list_transfers"],
            {
                "tenant_id": tenant_id,
                "before": before,
                "start_time": start_time,
                "end_time": end_time,
                "limit": limit,
            },
        )
        return await cursor.fetchall()
