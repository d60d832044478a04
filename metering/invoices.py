"""Invoices: drafts are derived from usage at each look, finalized ones are kept as sent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from database.queries import load_queries
from database.rows import typed_row
from metering import price_document
from metering.errors import InvoiceNotFoundError, LedgerMismatchError
from metering.invoice_document import (
    Invoice,
    InvoiceEnergy,
    InvoiceImage,
    InvoiceState,
    Party,
    from_json,
)
from metering.invoice_totals import UsageLineSum, total_usage
from metering.periods import BillingPeriod
from tenants.ids import PriceId
from tenants.tenant_store import Tenant

_QUERIES: Final = load_queries(__file__)
# Four pages of appendix; who draws more takes the CSV of usage.
_APPENDIX_IMAGES_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Price:
    price_id: PriceId
    document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _PeriodUsage:
    """Everything of one period, read by one statement and so at one instant."""

    image_count: int
    failed_image_count: int
    priced_nanos: int
    captured_nanos: int
    line_sums: tuple[UsageLineSum, ...]
    prices: tuple[_Price, ...]
    energy: tuple[InvoiceEnergy, ...]
    images: tuple[InvoiceImage, ...]


async def get_invoice(
    conn: AsyncConnection, tenant: Tenant, *, invoice_id: str, seller: Party, now: datetime
) -> Invoice:
    """Read an invoice: as it was sent when it is finalized, else the draft of this moment.

    Raises:
        InvoiceNotFoundError: it is no period in which the tenant existed.
        LedgerMismatchError: usage and captures of the period differ.
    """
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            _QUERIES["get_document"], {"tenant_id": tenant.tenant_id, "invoice_id": invoice_id}
        )
        document: str | None = await cursor.fetchone()
    if document is not None:
        return from_json(document)
    period = BillingPeriod.parse(invoice_id, time_zone=tenant.time_zone)
    if period.start_time > now or period.end_time <= tenant.create_time:
        raise InvoiceNotFoundError(invoice_id)
    return await draft_invoice(conn, tenant, period=period, seller=seller, now=now)


async def list_invoices(
    conn: AsyncConnection,
    tenant: Tenant,
    *,
    seller: Party,
    now: datetime,
    limit: int,
    before: str | None = None,
) -> list[Invoice]:
    """List the running period and all that have usage, the newest first, before one's id.

    Raises:
        InvoiceNotFoundError: ``before`` is no period.
        LedgerMismatchError: usage and captures of a period differ.
    """
    invoices: list[Invoice] = []
    period = await _first_period(conn, tenant, now=now, before=before)
    while period is not None and len(invoices) < limit:
        invoices.append(
            await get_invoice(conn, tenant, invoice_id=period.invoice_id, seller=seller, now=now)
        )
        period = await _period_with_usage(conn, tenant, before_time=period.start_time)
    return invoices


async def draft_invoice(
    conn: AsyncConnection, tenant: Tenant, *, period: BillingPeriod, seller: Party, now: datetime
) -> Invoice:
    """Derive the invoice of a period from its usage lines.

    Raises:
        LedgerMismatchError: usage and captures of the period differ; nothing may be invoiced.
    """
    usage = await _read_period(conn, tenant, period)
    _check_against_ledger(usage, tenant=tenant, period=period)
    totals = total_usage(usage.line_sums, _documents(usage.prices), currency=tenant.currency)
    return Invoice(
        tenant_id=tenant.tenant_id,
        invoice_id=period.invoice_id,
        invoice_number=None,
        state=InvoiceState.DRAFT,
        issue_time=now,
        billing_period_start=period.start_time,
        billing_period_end=period.end_time,
        time_zone=tenant.time_zone,
        seller=seller,
        buyer=_buyer(tenant),
        currency=tenant.currency,
        lines=totals.lines,
        subtotal_nanos=totals.subtotal_nanos,
        tax_nanos=totals.tax_nanos,
        rounding_nanos=totals.rounding_nanos,
        total_nanos=totals.total_nanos,
        image_count=usage.image_count,
        failed_image_count=usage.failed_image_count,
        energy=usage.energy,
        images=usage.images,
    )


async def _read_period(
    conn: AsyncConnection, tenant: Tenant, period: BillingPeriod
) -> _PeriodUsage:
    async with conn.cursor(row_factory=typed_row(_PeriodUsage)) as cursor:
        await cursor.execute(
            _QUERIES["read_period"],
            {
                "tenant_id": tenant.tenant_id,
                "start_time": period.start_time,
                "end_time": period.end_time,
                "images_max": _APPENDIX_IMAGES_MAX,
            },
        )
        usage = await cursor.fetchone()
    assert usage is not None, "a SELECT of scalars gives one row"
    return usage


def _check_against_ledger(usage: _PeriodUsage, *, tenant: Tenant, period: BillingPeriod) -> None:
    line_nanos = sum(line.billed_cost_nanos for line in usage.line_sums)
    if not line_nanos == usage.priced_nanos == usage.captured_nanos:
        raise LedgerMismatchError(
            f"{tenant.tenant_id} {period.invoice_id}: lines {line_nanos}, "
            f"prices {usage.priced_nanos}, captures {usage.captured_nanos} nanos"
        )


def _documents(prices: Sequence[_Price]) -> dict[PriceId, price_document.PriceDocument]:
    return {price.price_id: price_document.from_json(price.document) for price in prices}


def _buyer(tenant: Tenant) -> Party:
    return Party(
        legal_name=tenant.legal_name or tenant.display_name,
        postal_address=tenant.postal_address,
        vat_id=tenant.vat_id,
    )


async def _first_period(
    conn: AsyncConnection, tenant: Tenant, *, now: datetime, before: str | None
) -> BillingPeriod | None:
    if before is None:
        return BillingPeriod.containing(now, time_zone=tenant.time_zone)
    before_time = BillingPeriod.parse(before, time_zone=tenant.time_zone).start_time
    return await _period_with_usage(conn, tenant, before_time=before_time)


async def _period_with_usage(
    conn: AsyncConnection, tenant: Tenant, *, before_time: datetime
) -> BillingPeriod | None:
    """Find the last period before a time in which something was used."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            _QUERIES["get_last_charge_time"],
            {"tenant_id": tenant.tenant_id, "before_time": before_time},
        )
        charge_time: datetime | None = await cursor.fetchone()
    if charge_time is None:
        return None
    return BillingPeriod.containing(charge_time, time_zone=tenant.time_zone)
