"""What stands in the way of a tenant's deletion: the call decides nothing about money by itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from metering.invoice_chain import InvoiceChain, get_chain
from metering.money import decimal_text
from metering.periods import BillingPeriod
from services.gateway.errors import PreconditionViolation
from tenants.tenant_store import Tenant, TenantState

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    open_image_count: int
    held_nanos: int
    uninvoiced_count: int
    unsettled_invoice_ids: list[str]
    balance_nanos: int


async def what_is_unsettled(
    conn: AsyncConnection, tenant: Tenant, *, now: datetime
) -> list[PreconditionViolation]:
    """List everything at once, so that nobody has to find out one by one."""
    async with conn.cursor(row_factory=typed_row(_Open)) as cursor:
        await cursor.execute(_QUERIES["read_open"], {"tenant_id": tenant.tenant_id})
        found = await cursor.fetchone()
    assert found is not None, "it is one row of sums"
    chain = await get_chain(conn, tenant, now=now)
    return list(_violations(tenant, found, _owed_ids(chain, now=now)))


def _violations(
    tenant: Tenant, found: _Open, owed_ids: list[str]
) -> Iterator[PreconditionViolation]:
    if tenant.state != TenantState.SUSPENDED:
        yield _violation(tenant, "NOT_SUSPENDED", f"it is {tenant.state}: suspend it first")
    if found.open_image_count:
        yield _violation(
            tenant, "OPEN_IMAGES", f"{found.open_image_count} images have not come to their end"
        )
    if found.held_nanos:
        yield _violation(tenant, "OPEN_HOLDS", f"{_amount(tenant, found.held_nanos)} are on hold")
    if found.uninvoiced_count:
        text = f"{found.uninvoiced_count} charged images are on no invoice"
        yield _violation(tenant, "UNINVOICED_USAGE", text)
    if owed_ids:
        text = f"months that owe a minimum are not finalized: {', '.join(owed_ids)}"
        yield _violation(tenant, "UNINVOICED_MONTHS", text)
    if found.unsettled_invoice_ids:
        text = f"neither paid nor void: {', '.join(found.unsettled_invoice_ids)}"
        yield _violation(tenant, "UNSETTLED_INVOICES", text)
    if found.balance_nanos > 0:
        text = f"{_amount(tenant, found.balance_nanos)} of credit are left: refund them"
        yield _violation(tenant, "CREDIT_LEFT", text)
    if found.balance_nanos < 0:
        text = f"its wallet owes {_amount(tenant, -found.balance_nanos)}"
        yield _violation(tenant, "WALLET_OWES", text)


def _owed_ids(chain: InvoiceChain, *, now: datetime) -> list[str]:
    """Months that are over; whether the running one's minimum is forgone is the operator's."""
    return [
        month
        for month in chain.owed_ids
        if BillingPeriod.parse(month, time_zone=chain.time_zone).end_time <= now
    ]


def _violation(tenant: Tenant, kind: str, description: str) -> PreconditionViolation:
    return PreconditionViolation(
        kind=kind, subject=f"tenants/{tenant.tenant_id}", description=description
    )


def _amount(tenant: Tenant, nanos: int) -> str:
    return f"{decimal_text(nanos)} {tenant.currency}"
