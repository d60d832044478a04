"""Refunds: prepaid credit that was paid back outside, out of the wallet it lay in."""

from typing import Final
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from database.queries import load_queries
from metering.accounts import lock_accounts
from metering.errors import InsufficientBalanceError
from metering.ledger import Transfer, book_single, expire_due_credit
from tenants.ids import TenantId

_QUERIES: Final = load_queries(__file__)


async def refund_credit(
    conn: AsyncConnection,
    *,
    tenant_id: TenantId,
    amount_nanos: int,
    currency: str,
    reference: str,
    request_id: UUID | None,
) -> Transfer:
    """Book credit back to where it came from; lots are used up as by a charge.

    What a credit limit lends is nobody's to be paid back, so the wallet's own guard, which admits
    it, is not enough: only what is free of holds and above zero goes.

    Raises:
        InsufficientBalanceError: less is left of what was prepaid.
        UnknownAccountError: the tenant has no wallet in that currency.
    """
    await lock_accounts(conn, tenant_id=tenant_id, currency=currency)
    await expire_due_credit(conn, tenant_id=tenant_id, currency=currency)
    if amount_nanos > await prepaid_nanos(conn, tenant_id=tenant_id, currency=currency):
        raise InsufficientBalanceError(needed_nanos=amount_nanos, currency=currency)
    return await book_single(
        conn,
        tenant_id=tenant_id,
        debit_account="WALLET",
        credit_account="FUNDING",
        amount_nanos=amount_nanos,
        currency=currency,
        reason="REFUND",
        description=reference,
        request_id=request_id,
    )


async def prepaid_nanos(conn: AsyncConnection, *, tenant_id: TenantId, currency: str) -> int:
    """What a wallet has of its own and no hold stands on; below zero where it owes."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            _QUERIES["prepaid_nanos"], {"tenant_id": tenant_id, "currency": currency}
        )
        amount_nanos: int | None = await cursor.fetchone()
    return amount_nanos or 0
