"""Invoices: drafts are derived from usage at each look, finalized ones are kept as sent."""

from datetime import UTC, datetime

from database.pool import Connection
from metering.errors import InvoiceNotFoundError
from metering.invoice_chain import InvoiceChain, get_chain
from metering.invoice_document import Invoice
from metering.invoice_drafts import Issuer, derive_draft
from metering.invoice_store import get_previous_id, get_stored
from metering.periods import BillingPeriod
from tenants.tenant_store import Tenant


async def get_invoice(
    conn: Connection, tenant: Tenant, *, invoice_id: str, issuer: Issuer, now: datetime
) -> Invoice:
    """Read an invoice: as it was sent when it is finalized, else the draft of this moment.

    Raises:
        InvoiceNotFoundError: it is no period in which the tenant existed, or one without an invoice
            that later ones have passed.
        LedgerMismatchError: usage and captures of the period differ.
    """
    stored = await get_stored(conn, tenant_id=tenant.tenant_id, invoice_id=invoice_id)
    if stored is not None:
        return stored
    period = BillingPeriod.parse(invoice_id, time_zone=tenant.time_zone)
    if period.start_time > now or period.end_time <= tenant.create_time:
        raise InvoiceNotFoundError(invoice_id)
    chain = await get_chain(conn, tenant, now=now)
    if chain.is_past(period):
        raise InvoiceNotFoundError(invoice_id)
    draft = await derive_draft(conn, tenant, period=period, chain=chain, issuer=issuer, now=now)
    return draft.invoice


async def list_invoices(
    conn: Connection,
    tenant: Tenant,
    *,
    issuer: Issuer,
    now: datetime,
    limit: int,
    before: str | None = None,
) -> list[Invoice]:
    """List the running period, all that wait and all that are finalized, the newest first.

    ``before`` continues behind an invoice, by its id.

    Raises:
        InvoiceNotFoundError: ``before`` is no period.
        LedgerMismatchError: usage and captures of a period differ.
    """
    invoices: list[Invoice] = []
    chain = await get_chain(conn, tenant, now=now)
    invoice_id = await _first_id(conn, tenant, chain=chain, now=now, before=before)
    while invoice_id is not None and len(invoices) < limit:
        invoices.append(
            await get_invoice(conn, tenant, invoice_id=invoice_id, issuer=issuer, now=now)
        )
        invoice_id = await _previous_id(conn, tenant, chain=chain, before=invoice_id)
    return invoices


async def _first_id(
    conn: Connection,
    tenant: Tenant,
    *,
    chain: InvoiceChain,
    now: datetime,
    before: str | None,
) -> str | None:
    if before is None:
        return BillingPeriod.containing(now, time_zone=tenant.time_zone).invoice_id
    return await _previous_id(conn, tenant, chain=chain, before=before)


async def _previous_id(
    conn: Connection, tenant: Tenant, *, chain: InvoiceChain, before: str
) -> str | None:
    period = BillingPeriod.parse(before, time_zone=tenant.time_zone)
    previous_id = await get_previous_id(
        conn,
        tenant_id=tenant.tenant_id,
        time_zone=tenant.time_zone,
        before_id=before,
        before_time=chain.start_of(period),
        since_time=chain.last_end_time or datetime.min.replace(tzinfo=UTC),
    )
    owed_id = max((owed for owed in chain.owed_ids if owed < before), default=None)
    return max(filter(None, (previous_id, owed_id)), default=None)
