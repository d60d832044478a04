"""The ledger: holds, captures, releases and credit, as append-only transfers.

Nothing here checks a balance. The wallet's CHECK constraint refuses the update that would
overspend, so that no code path, however wrong, can. Everything runs in the caller's transaction,
and every function takes a tenant's accounts in the same order (by kind), so that two of them never
deadlock.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.errors import CheckViolation, NumericValueOutOfRange
from psycopg.rows import scalar_row

from database.queries import load_queries
from database.rows import typed_row
from metering.budgets import hold_in_budgets, lock_counters, resolve_in_budgets
from metering.credit_lots import (
    ExpiredLot,
    WalletMove,
    consume_lots,
    expirable_nanos,
    expire_lot,
    open_lot,
)
from metering.errors import AmountOverflowError, InsufficientBalanceError, UnknownAccountError
from tenants.ids import ImageId, JobId, TenantId

_QUERIES: Final = load_queries(__file__)
_BALANCE_GUARD: Final = "balance_guard"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Money reserved for one image: a pending transfer that will be captured or released once."""

    tenant_id: TenantId
    transfer_id: int
    image_id: ImageId
    job_id: JobId
    amount_nanos: int
    currency: str


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


async def open_accounts(conn: AsyncConnection, *, tenant_id: TenantId, currency: str) -> None:
    """Open a tenant's accounts in a currency; opening them again changes nothing."""
    await conn.execute(_QUERIES["open_accounts"], {"tenant_id": tenant_id, "currency": currency})


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
    await _lock_accounts(conn, tenant_id=tenant_id, currency=currency)
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
) -> Transfer:
    """Move money from one account to another at once; what moves the wallet moves its lots.

    Raises:
        AmountOverflowError: an account would hold more than a number can.
        InsufficientBalanceError: the wallet cannot carry it; roll the transaction back.
    """
    await _lock_accounts(conn, tenant_id=tenant_id, currency=currency)
    transfer = await _book_single(
        conn,
        tenant_id=tenant_id,
        debit_account=debit_account,
        credit_account=credit_account,
        amount_nanos=amount_nanos,
        currency=currency,
        reason=reason,
        description=description,
        request_id=None,
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
    await _lock_accounts(conn, tenant_id=lot.tenant_id, currency=lot.currency)
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


async def set_credit_limit(
    conn: AsyncConnection, *, tenant_id: TenantId, currency: str, credit_limit_nanos: int
) -> None:
    """Let a wallet go below zero so far.

    Raises:
        InsufficientBalanceError: it is below that already; roll the transaction back.
        UnknownAccountError: the tenant has no wallet in that currency.
    """
    await _lock_accounts(conn, tenant_id=tenant_id, currency=currency)
    with _guarded(credit_limit_nanos, currency):
        await conn.execute(
            _QUERIES["set_credit_limit"],
            {
                "tenant_id": tenant_id,
                "currency": currency,
                "credit_limit_nanos": credit_limit_nanos,
            },
        )


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
    await hold_in_budgets(conn, job_id=job_id, amount_nanos=amount_nanos)
    await _lock_accounts(conn, tenant_id=tenant_id, currency=currency)
    await _reserve(conn, tenant_id=tenant_id, currency=currency, amount_nanos=amount_nanos)
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
    await _lock_accounts(conn, tenant_id=hold.tenant_id, currency=hold.currency)


async def capture(conn: AsyncConnection, hold: Hold, *, price_nanos: int) -> int:
    """Charge an image against its hold; what was held beyond the price is free again.

    A price above the hold is capped at it, because the hold is the promise that was made to the
    tenant; the rest is booked as the operator's write-off.

    Returns:
        The amount charged, in nanos.
    """
    charged_nanos = min(price_nanos, hold.amount_nanos)
    await resolve_in_budgets(conn, [hold], charged_nanos=charged_nanos)
    await _lock_accounts(conn, tenant_id=hold.tenant_id, currency=hold.currency)
    # The unique index on pending_id refuses a second resolution of the same hold.
    capture_id = await _insert_capture(conn, hold, charged_nanos)
    await _free(conn, hold, hold_nanos=hold.amount_nanos, charged_nanos=charged_nanos)
    charge = WalletMove(
        tenant_id=hold.tenant_id,
        currency=hold.currency,
        transfer_id=capture_id,
        amount_nanos=charged_nanos,
    )
    await consume_lots(conn, charge)
    if price_nanos > charged_nanos:
        await _book_single(
            conn,
            tenant_id=hold.tenant_id,
            debit_account="WRITE_OFF",
            credit_account="REVENUE",
            amount_nanos=price_nanos - charged_nanos,
            currency=hold.currency,
            reason="WRITE_OFF",
            description="Price above the hold",
            request_id=None,
            image=(hold.job_id, hold.image_id),
        )
    return charged_nanos


async def release(conn: AsyncConnection, holds: Sequence[Hold]) -> None:
    """Give back what was held for images that are not charged; all of one tenant and currency."""
    if not holds:
        return
    await resolve_in_budgets(conn, holds)
    await _lock_accounts(conn, tenant_id=holds[0].tenant_id, currency=holds[0].currency)
    await conn.execute(
        _QUERIES["insert_releases"], {"pending_ids": [hold.transfer_id for hold in holds]}
    )
    await _free(conn, holds[0], hold_nanos=sum(hold.amount_nanos for hold in holds))


async def _lock_accounts(conn: AsyncConnection, *, tenant_id: TenantId, currency: str) -> None:
    cursor = await conn.execute(
        _QUERIES["lock_accounts"], {"tenant_id": tenant_id, "currency": currency}
    )
    if cursor.rowcount == 0:
        raise UnknownAccountError(f"{tenant_id} has no account in {currency}")


async def _reserve(
    conn: AsyncConnection, *, tenant_id: TenantId, currency: str, amount_nanos: int
) -> None:
    with _guarded(amount_nanos, currency):
        await conn.execute(
            _QUERIES["hold_in_accounts"],
            {"tenant_id": tenant_id, "currency": currency, "amount_nanos": amount_nanos},
        )


@contextmanager
def _guarded(amount_nanos: int, currency: str) -> Generator[None]:
    """Say in our words what the accounts' constraints refuse."""
    try:
        yield
    except CheckViolation as error:
        if error.diag.constraint_name != _BALANCE_GUARD:
            raise
        raise InsufficientBalanceError(needed_nanos=amount_nanos, currency=currency) from error
    except NumericValueOutOfRange as error:
        raise AmountOverflowError(f"{amount_nanos} nanos more than an account can hold") from error


async def _insert_capture(conn: AsyncConnection, hold: Hold, amount_nanos: int) -> int:
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            _QUERIES["insert_capture"],
            {"pending_id": hold.transfer_id, "amount_nanos": amount_nanos},
        )
        transfer_id: int | None = await cursor.fetchone()
    assert transfer_id is not None, "the hold is there, else there would be nothing to capture"
    return transfer_id


def _move(transfer: Transfer) -> WalletMove:
    return WalletMove(
        tenant_id=transfer.tenant_id,
        currency=transfer.currency,
        transfer_id=transfer.transfer_id,
        amount_nanos=transfer.amount_nanos,
    )


async def _free(
    conn: AsyncConnection, hold: Hold, *, hold_nanos: int, charged_nanos: int = 0
) -> None:
    await conn.execute(
        _QUERIES["resolve_in_accounts"],
        {
            "tenant_id": hold.tenant_id,
            "currency": hold.currency,
            "hold_nanos": hold_nanos,
            "amount_nanos": charged_nanos,
        },
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
    with _guarded(amount_nanos, currency):
        await conn.execute(
            _QUERIES["post_to_accounts"],
            {
                "tenant_id": tenant_id,
                "currency": currency,
                "debit_account": debit_account,
                "credit_account": credit_account,
                "amount_nanos": amount_nanos,
            },
        )
    return transfer
