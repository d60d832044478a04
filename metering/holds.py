"""Holds: money set aside when a job is accepted, captured or released once for each image.

Everything runs in the caller's transaction: budgets are locked before accounts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from database.queries import load_queries
from metering.accounts import lock_accounts, reserve, resolve
from metering.budgets import hold_in_budgets, lock_counters, resolve_in_budgets
from metering.credit_lots import WalletMove, consume_lots
from metering.ledger import expire_due_credit, write_off
from tenants.ids import ImageId, JobId, TenantId

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Money reserved for one image: a pending transfer that will be captured or released once."""

    tenant_id: TenantId
    transfer_id: int
    image_id: ImageId
    job_id: JobId
    amount_nanos: int
    currency: str


async def hold_images(
    conn: AsyncConnection,
    *,
    tenant_id: TenantId,
    job_id: JobId,
    currency: str,
    amounts_nanos: Mapping[ImageId, int],
) -> dict[ImageId, int]:
    """Reserve money for a job's images: one update of the wallet, one pending transfer per image.

    Returns:
        The hold's transfer id for each image.

    Raises:
        BudgetExceededError: a hard budget cannot carry the sum; roll the transaction back.
        InsufficientBalanceError: the wallet cannot carry it; roll the transaction back.
        UnknownAccountError: the tenant has no wallet in that currency.
    """
    if not amounts_nanos:
        return {}
    amount_nanos = sum(amounts_nanos.values())
    await hold_in_budgets(conn, tenant_id=tenant_id, job_id=job_id, amount_nanos=amount_nanos)
    await lock_accounts(conn, tenant_id=tenant_id, currency=currency)
    await expire_due_credit(conn, tenant_id=tenant_id, currency=currency)
    await reserve(conn, tenant_id=tenant_id, currency=currency, amount_nanos=amount_nanos)
    cursor = await conn.execute(
        _QUERIES["insert_holds"],
        {
            "tenant_id": tenant_id,
            "currency": currency,
            "job_id": job_id,
            "image_ids": list(amounts_nanos),
            "amounts_nanos": list(amounts_nanos.values()),
        },
    )
    return {ImageId(image_id): transfer_id for image_id, transfer_id in await cursor.fetchall()}


async def lock_hold(conn: AsyncConnection, hold: Hold) -> None:
    """Lock what a capture changes, for whoever must know the price first."""
    await lock_counters(conn, [hold.job_id])
    await lock_accounts(conn, tenant_id=hold.tenant_id, currency=hold.currency)


async def capture(conn: AsyncConnection, hold: Hold, *, price_nanos: int) -> int:
    """Charge an image against its hold; what was held beyond the price is free again.

    A price above the hold is capped at it, because the hold is the promise that was made to the
    tenant; the rest is booked as the operator's write-off.

    Returns:
        The amount charged, in nanos.
    """
    charged_nanos = min(price_nanos, hold.amount_nanos)
    await resolve_in_budgets(conn, [hold], charged_nanos=charged_nanos)
    await lock_accounts(conn, tenant_id=hold.tenant_id, currency=hold.currency)
    # The unique index on pending_id refuses a second resolution of the same hold.
    capture_id = await _insert_capture(conn, hold, charged_nanos)
    await resolve(
        conn,
        tenant_id=hold.tenant_id,
        currency=hold.currency,
        hold_nanos=hold.amount_nanos,
        charged_nanos=charged_nanos,
    )
    charge = WalletMove(
        tenant_id=hold.tenant_id,
        currency=hold.currency,
        transfer_id=capture_id,
        amount_nanos=charged_nanos,
    )
    await consume_lots(conn, charge)
    await expire_due_credit(conn, tenant_id=hold.tenant_id, currency=hold.currency)
    if price_nanos > charged_nanos:
        await write_off(
            conn,
            tenant_id=hold.tenant_id,
            job_id=hold.job_id,
            image_id=hold.image_id,
            amount_nanos=price_nanos - charged_nanos,
            currency=hold.currency,
        )
    return charged_nanos


async def release(conn: AsyncConnection, holds: Sequence[Hold]) -> None:
    """Give back what was held for images that are not charged; all of one tenant and currency."""
    if not holds:
        return
    await resolve_in_budgets(conn, holds)
    await lock_accounts(conn, tenant_id=holds[0].tenant_id, currency=holds[0].currency)
    await conn.execute(
        _QUERIES["insert_releases"], {"pending_ids": [hold.transfer_id for hold in holds]}
    )
    await resolve(
        conn,
        tenant_id=holds[0].tenant_id,
        currency=holds[0].currency,
        hold_nanos=sum(hold.amount_nanos for hold in holds),
    )
    await expire_due_credit(conn, tenant_id=holds[0].tenant_id, currency=holds[0].currency)


async def _insert_capture(conn: AsyncConnection, hold: Hold, amount_nanos: int) -> int:
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            _QUERIES["insert_capture"],
            {"pending_id": hold.transfer_id, "amount_nanos": amount_nanos},
        )
        transfer_id: int | None = await cursor.fetchone()
    assert transfer_id is not None, "the hold is there, else there would be nothing to capture"
    return transfer_id
