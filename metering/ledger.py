"""The ledger: credit and other bookings as append-only transfers; holds are in ``holds``.

Everything runs in the caller's transaction. What guards a wallet is told in ``accounts``.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from metering.accounts import lock_accounts, post
from metering.credit_lots import (
    ExpiredLot,
    WalletMove,
    consume_lots,
    due_lots,
    expirable_nanos,
    expire_lot,
    open_lot,
)
from tenants.ids import ImageId, JobId, TenantId

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One row of the ledger."""

    transfer_id: int
    tenant_id: TenantId
    kind: str
    debit_account: str
    credit_account: str
    amount_nanos: int
    currency: str
    pending_id: int | None
    image_id: ImageId | None
    job_id: JobId | None
    reason: str
    description: str
    create_time: datetime


async def grant_credit(
    conn: AsyncConnection,
    *,
    tenant_id: TenantId,
    amount_nanos: int,
    currency: str,
    description: str,
    request_id: UUID | None,
    priority: int = 0,
    expire_time: datetime | None = None,
) -> Transfer:
    """Credit a tenant's wallet with a lot; lower priorities are used first.

    Raises:
        AmountOverflowError: the wallet would hold more than a number can.
        UnknownAccountError: the tenant has no wallet in that currency.
    """
    await lock_accounts(conn, tenant_id=tenant_id, currency=currency)
    transfer = await _book_single(
        conn,
        tenant_id=tenant_id,
        debit_account="FUNDING",
        credit_account="WALLET",
        amount_nanos=amount_nanos,
        currency=currency,
        reason="CREDIT_GRANT",
        description=description,
        request_id=request_id,
    )
    await open_lot(conn, _move(transfer), priority=priority, expire_time=expire_time)
    return transfer


async def book_single(
    conn: AsyncConnection,
    *,
    tenant_id: TenantId,
    debit_account: str,
    credit_account: str,
    amount_nanos: int,
    currency: str,
    reason: str,
    description: str,
    request_id: UUID | None = None,
) -> Transfer:
    """Move money from one account to another at once; what moves the wallet moves its lots.

    Raises:
        AmountOverflowError: an account would hold more than a number can.
        InsufficientBalanceError: the wallet cannot carry it; roll the transaction back.
    """
    await lock_accounts(conn, tenant_id=tenant_id, currency=currency)
    transfer = await _book_single(
        conn,
        tenant_id=tenant_id,
        debit_account=debit_account,
        credit_account=credit_account,
        amount_nanos=amount_nanos,
        currency=currency,
        reason=reason,
        description=description,
        request_id=request_id,
    )
    if debit_account == "WALLET":
        await consume_lots(conn, _move(transfer))
    if credit_account == "WALLET":
        await open_lot(conn, _move(transfer))
    return transfer


async def expire_credit(conn: AsyncConnection, lot: ExpiredLot) -> int:
    """Book what a lot has left to breakage, as far as no open hold stands on it.

    What holds stand on expires later, as they are resolved.

    Returns:
        What expired, in nanos.
    """
    await lock_accounts(conn, tenant_id=lot.tenant_id, currency=lot.currency)
    amount_nanos = await expirable_nanos(conn, lot.lot_id)
    if amount_nanos == 0:
        return 0
    await _book_single(
        conn,
        tenant_id=lot.tenant_id,
        debit_account="WALLET",
        credit_account="BREAKAGE",
        amount_nanos=amount_nanos,
        currency=lot.currency,
        reason="BREAKAGE",
        description=f"Credit {lot.lot_id} expired",
        request_id=None,
    )
    await expire_lot(conn, lot.lot_id, amount_nanos=amount_nanos)
    return amount_nanos


async def expire_due_credit(conn: AsyncConnection, *, tenant_id: TenantId, currency: str) -> None:
    """Expire what a wallet has free of credit whose time is over.

    Called before money is set aside and after holds were resolved: what has expired is not there
    to be spent until the housekeeper comes by. The caller has locked the wallet.
    """
    for lot in await due_lots(conn, tenant_id=tenant_id, currency=currency):
        await expire_credit(conn, lot)


async def write_off(
    conn: AsyncConnection,
    *,
    tenant_id: TenantId,
    job_id: JobId,
    image_id: ImageId,
    amount_nanos: int,
    currency: str,
) -> None:
    """Book what an image's price is above its hold: the operator's, never the tenant's."""
    await _book_single(
        conn,
        tenant_id=tenant_id,
        debit_account="WRITE_OFF",
        credit_account="REVENUE",
        amount_nanos=amount_nanos,
        currency=currency,
        reason="WRITE_OFF",
        description="Price above the hold",
        request_id=None,
        image=(job_id, image_id),
    )


def _move(transfer: Transfer) -> WalletMove:
    return WalletMove(
        tenant_id=transfer.tenant_id,
        currency=transfer.currency,
        transfer_id=transfer.transfer_id,
        amount_nanos=transfer.amount_nanos,
    )


async def _book_single(
    conn: AsyncConnection,
    *,
    tenant_id: TenantId,
    debit_account: str,
    credit_account: str,
    amount_nanos: int,
    currency: str,
    reason: str,
    description: str,
    request_id: UUID | None,
    image: tuple[JobId, ImageId] | None = None,
) -> Transfer:
    job_id, image_id = image or (None, None)
    async with conn.cursor(row_factory=typed_row(Transfer)) as cursor:
        await cursor.execute(
            _QUERIES["insert_single"],
            {
                "tenant_id": tenant_id,
                "debit_account": debit_account,
                "credit_account": credit_account,
                "amount_nanos": amount_nanos,
                "currency": currency,
                "image_id": image_id,
                "job_id": job_id,
                "reason": reason,
                "description": description,
                "request_id": request_id,
            },
        )
        transfer = await cursor.fetchone()
    assert transfer is not None, "INSERT … RETURNING gives a row or raises"
    await post(
        conn,
        tenant_id=tenant_id,
        currency=currency,
        debit_account=debit_account,
        credit_account=credit_account,
        amount_nanos=amount_nanos,
    )
    return transfer
