"""Lots of prepaid credit: which credit a charge used up, and what of it expires.

Holds are made against the wallet as a whole; a charge uses lots in order of priority and expiry.
The caller has locked the wallet, which lets a tenant's bookings pass one by one.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from database.queries import load_queries
from database.rows import typed_row
from tenants.ids import TenantId

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditLot:
    """One credit of a wallet, by the id of its transfer, and what became of it."""

    lot_id: int
    priority: int
    expire_time: datetime | None
    amount_nanos: int
    consumed_nanos: int
    expired_nanos: int

    @property
    def rest_nanos(self) -> int:
        """What a charge may still use."""
        return self.amount_nanos - self.consumed_nanos - self.expired_nanos


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiredLot:
    """A lot whose time is over and that has a rest."""

    tenant_id: TenantId
    lot_id: int
    currency: str
    expire_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletMove:
    """A transfer that has just moved a wallet."""

    tenant_id: TenantId
    currency: str
    transfer_id: int
    amount_nanos: int


async def open_lot(
    conn: AsyncConnection,
    move: WalletMove,
    *,
    priority: int = 0,
    expire_time: datetime | None = None,
) -> None:
    """Make a lot of a credit that was posted; what the wallet owed is paid from it at once."""
    await conn.execute(
        _QUERIES["open_lot"],
        {**_parameters(move), "priority": priority, "expire_time": expire_time},
    )


async def consume_lots(conn: AsyncConnection, move: WalletMove) -> None:
    """Use up lots for a charge; what no lot covers is owed."""
    if move.amount_nanos:
        await conn.execute(_QUERIES["consume_lots"], _parameters(move))


async def lots_to_expire(
    conn: AsyncConnection, *, now: datetime, limit: int, after: ExpiredLot | None = None
) -> list[ExpiredLot]:
    """List lots of all tenants whose time is over and that have a rest, after one."""
    async with conn.cursor(row_factory=typed_row(ExpiredLot)) as cursor:
        await cursor.execute(
            _QUERIES["lots_to_expire"],
            {
                "now": now,
                "limit": limit,
                "after_tenant": after and after.tenant_id,
                "after_currency": after and after.currency,
                "after_time": after and after.expire_time,
                "after_lot": after and after.lot_id,
            },
        )
        return await cursor.fetchall()


async def due_lots(
    conn: AsyncConnection, *, tenant_id: TenantId, currency: str
) -> list[ExpiredLot]:
    """List a wallet's lots whose time is over now and that have a rest."""
    async with conn.cursor(row_factory=typed_row(ExpiredLot)) as cursor:
        await cursor.execute(_QUERIES["due_lots"], {"tenant_id": tenant_id, "currency": currency})
        return await cursor.fetchall()


async def expirable_nanos(conn: AsyncConnection, lot_id: int) -> int:
    """What may expire of a lot now: its rest, as far as the wallet has it free."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["expirable_nanos"], {"lot_id": lot_id})
        amount_nanos: int | None = await cursor.fetchone()
    return amount_nanos or 0


async def expire_lot(conn: AsyncConnection, lot_id: int, *, amount_nanos: int) -> None:
    """Note what was booked to breakage."""
    await conn.execute(_QUERIES["expire_lot"], {"lot_id": lot_id, "amount_nanos": amount_nanos})


async def list_lots(
    conn: AsyncConnection, *, tenant_id: TenantId, currency: str
) -> list[CreditLot]:
    """List a wallet's lots in the order they are used."""
    async with conn.cursor(row_factory=typed_row(CreditLot)) as cursor:
        await cursor.execute(_QUERIES["list_lots"], {"tenant_id": tenant_id, "currency": currency})
        return await cursor.fetchall()


def _parameters(move: WalletMove) -> dict[str, object]:
    return {
        "tenant_id": move.tenant_id,
        "currency": move.currency,
        "transfer_id": move.transfer_id,
        "amount_nanos": move.amount_nanos,
    }
