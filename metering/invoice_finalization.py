"""A draft becomes an invoice: once, in order, with a number, and only while all sums hold."""

from datetime import datetime, timedelta

from database.pool import Connection
from metering.errors import (
    InvariantsViolatedError,
    InvoiceNotDueError,
    InvoiceNotFoundError,
    InvoiceOutOfOrderError,
    InvoiceStateError,
)
from metering.invariants import check_invariants
from metering.invoice_chain import InvoiceChain, get_chain
from metering.invoice_document import Invoice
from metering.invoice_drafts import Issuer, derive_draft
from metering.invoice_store import get_stored, store_invoice
from metering.invoice_transfers import book, finalizing
from metering.invoice_usage import take_usage
from metering.periods import BillingPeriod
from tenants.tenant_store import Tenant


async def finalize_invoice(
    conn: Connection,
    tenant: Tenant,
    *,
    invoice_id: str,
    issuer: Issuer,
    grace: timedelta,
    now: datetime,
) -> Invoice:
    """Give a period's draft its number and book what the period's end adds to the captures.

    The caller has locked the tenant. Usage is taken first and the invoice made of what was taken:
    what is charged meanwhile waits for the next one.

    Raises:
        InvoiceNotFoundError: it is no period in which the tenant existed.
        InvoiceStateError: it is finalized already.
        InvoiceNotDueError: the period, or the grace for late facts, is not over.
        InvoiceOutOfOrderError: an earlier month waits (of usage, or of a minimum that is owed
            without any), or a later one is finalized.
        InvariantsViolatedError: sums of the tenant that must hold do not.
        LedgerMismatchError: usage and captures of the period differ.
    """
    stored = await get_stored(conn, tenant_id=tenant.tenant_id, invoice_id=invoice_id)
    if stored is not None:
        raise InvoiceStateError(invoice_id, state=stored.state)
    period = BillingPeriod.parse(invoice_id, time_zone=tenant.time_zone)
    chain = await get_chain(conn, tenant, now=now)
    _check_time(period, tenant, grace=grace, now=now)
    _check_order(period, chain)
    await _check_sums(conn, tenant)
    await take_usage(conn, tenant, invoice_id=invoice_id, end_time=period.end_time)
    draft = await derive_draft(
        conn, tenant, period=period, chain=chain, issuer=issuer, now=now, taken=True
    )
    invoice = await store_invoice(
        conn, draft.invoice, wallet_due_nanos=draft.totals.wallet_due_nanos
    )
    await book(
        conn,
        finalizing(draft.totals),
        tenant_id=tenant.tenant_id,
        invoice_id=invoice_id,
        currency=tenant.currency,
    )
    return invoice


def _check_time(period: BillingPeriod, tenant: Tenant, *, grace: timedelta, now: datetime) -> None:
    if period.end_time <= tenant.create_time:
        raise InvoiceNotFoundError(period.invoice_id)
    due_time = period.end_time + grace
    if now < due_time:
        raise InvoiceNotDueError(period.invoice_id, due_time=due_time)


def _check_order(period: BillingPeriod, chain: InvoiceChain) -> None:
    if chain.last_invoice_id is not None and chain.is_past(period):
        raise InvoiceOutOfOrderError(period.invoice_id, other_id=chain.last_invoice_id)
    if chain.next_id is not None and not chain.is_next(period):
        raise InvoiceOutOfOrderError(period.invoice_id, other_id=chain.next_id)


async def _check_sums(conn: Connection, tenant: Tenant) -> None:
    """Check the tenant's own sums; those of all are the housekeeper's, every night."""
    violations = await check_invariants(conn, tenant_id=tenant.tenant_id)
    violated = tuple(name for name, count in violations.items() if count)
    if violated:
        raise InvariantsViolatedError(violated)
