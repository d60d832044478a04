"""Accounts: the guarded counters that the ledger's transfers move.

Nothing here checks a balance. The wallet's CHECK constraint refuses the update that would
overspend, so that no code path, however wrong, can. A tenant's accounts are always locked in the
same order (by kind), so that two transactions never deadlock.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from psycopg import AsyncConnection
from psycopg.errors import CheckViolation, NumericValueOutOfRange

from database.queries import load_queries
from metering.errors import AmountOverflowError, InsufficientBalanceError, UnknownAccountError
from tenants.ids import TenantId

_QUERIES: Final = load_queries(__file__)
_BALANCE_GUARD: Final = "balance_guard"


async def open_accounts(conn: AsyncConnection, *, tenant_id: TenantId, currency: str) -> None:
    """Open a tenant's accounts in a currency; opening them again changes nothing."""
    await conn.execute(_QUERIES["open_accounts"], {"tenant_id": tenant_id, "currency": currency})


async def set_credit_limit(
    conn: AsyncConnection, *, tenant_id: TenantId, currency: str, credit_limit_nanos: int
) -> None:
    """Let a wallet go below zero so far.

    Raises:
        InsufficientBalanceError: it is below that already; roll the transaction back.
        UnknownAccountError: the tenant has no wallet in that currency.
    """
    await lock_accounts(conn, tenant_id=tenant_id, currency=currency)
    with _guarded(credit_limit_nanos, currency):
        await conn.execute(
            _QUERIES["set_credit_limit"],
            {
                "tenant_id": tenant_id,
                "currency": currency,
                "credit_limit_nanos": credit_limit_nanos,
            },
        )


async def lock_accounts(conn: AsyncConnection, *, tenant_id: TenantId, currency: str) -> None:
    """Lock a tenant's accounts in a currency, so that its bookings pass one by one.

    Raises:
        UnknownAccountError: the tenant has none in that currency.
    """
    cursor = await conn.execute(
        _QUERIES["lock_accounts"], {"tenant_id": tenant_id, "currency": currency}
    )
    if cursor.rowcount == 0:
        raise UnknownAccountError(f"{tenant_id} has no account in {currency}")


async def reserve(
    conn: AsyncConnection, *, tenant_id: TenantId, currency: str, amount_nanos: int
) -> None:
    """Set money of the wallet aside.

    Raises:
        InsufficientBalanceError: the wallet cannot carry it; roll the transaction back.
    """
    with _guarded(amount_nanos, currency):
        await conn.execute(
            _QUERIES["hold_in_accounts"],
            {"tenant_id": tenant_id, "currency": currency, "amount_nanos": amount_nanos},
        )


async def resolve(
    conn: AsyncConnection,
    *,
    tenant_id: TenantId,
    currency: str,
    hold_nanos: int,
    charged_nanos: int = 0,
) -> None:
    """Free what was set aside and charge some of it."""
    await conn.execute(
        _QUERIES["resolve_in_accounts"],
        {
            "tenant_id": tenant_id,
            "currency": currency,
            "hold_nanos": hold_nanos,
            "amount_nanos": charged_nanos,
        },
    )


async def post(
    conn: AsyncConnection,
    *,
    tenant_id: TenantId,
    currency: str,
    debit_account: str,
    credit_account: str,
    amount_nanos: int,
) -> None:
    """Move money from one account to another at once.

    Raises:
        AmountOverflowError: an account would hold more than a number can.
        InsufficientBalanceError: the wallet cannot carry it; roll the transaction back.
    """
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
