"""Drafts: what a period's invoice would say at this moment, derived from usage and the ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from metering import price_document
from metering.energy_factors import EnergyFactors
from metering.energy_source import EnergySource
from metering.errors import LedgerMismatchError
from metering.invoice_document import (
    Invoice,
    InvoiceDay,
    InvoiceEnergy,
    InvoiceFailure,
    InvoiceImage,
    InvoiceState,
    Party,
)
from metering.invoice_period_end import UsageLineSum
from metering.invoice_totals import InvoiceTotals, total_invoice
from metering.periods import BillingPeriod
from metering.price_book import current_price
from tenants.ids import PriceId
from tenants.tenant_store import Tenant

_QUERIES: Final = load_queries(__file__)
# Four pages of appendix; who draws more takes the CSV of usage.
_APPENDIX_IMAGES_MAX: Final = 200
_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_ALWAYS: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Who invoices, and by which factors its energy becomes carbon dioxide."""

    seller: Party
    energy_factors: tuple[EnergyFactors, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceChain:
    """How far a tenant is invoiced: the last finalized period, and what waits behind it."""

    last_invoice_id: str | None
    last_end_time: datetime | None
    first_waiting_time: datetime | None

    def is_past(self, period: BillingPeriod) -> bool:
        """Whether a period ends before what is finalized; what comes late goes to the next one."""
        return self.last_end_time is not None and period.end_time <= self.last_end_time

    def start_of(self, period: BillingPeriod) -> datetime:
        """Begin where the month before was ended, also when the tenant's time zone has changed."""
        if self.last_end_time is None:
            return period.start_time
        if self.last_invoice_id == period.preceding.invoice_id:
            return self.last_end_time
        return max(period.start_time, self.last_end_time)

    def is_next(self, period: BillingPeriod) -> bool:
        """Whether nothing waits between the last finalized period and this one."""
        waiting_time = self.first_waiting_time
        return waiting_time is None or waiting_time >= self.start_of(period)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A draft, and what its totals mean for the ledger."""

    invoice: Invoice
    totals: InvoiceTotals


@dataclass(frozen=True, slots=True, kw_only=True)
class _Price:
    price_id: PriceId
    document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _EnergySum:
    model: str
    energy_source: EnergySource
    factors_number: int
    image_count: int
    energy_millijoules: int
    energy_error_millijoules: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _PeriodUsage:
    """Everything of one period, read by one statement and so at one instant."""

    image_count: int
    failed_image_count: int
    priced_nanos: int
    captured_nanos: int
    prepaid_nanos: int
    line_sums: tuple[UsageLineSum, ...]
    prices: tuple[_Price, ...]
    energy: tuple[_EnergySum, ...]
    days: tuple[InvoiceDay, ...]
    failures: tuple[InvoiceFailure, ...]
    images: tuple[InvoiceImage, ...]


async def get_chain(conn: AsyncConnection, tenant: Tenant) -> InvoiceChain:
    """Find out how far a tenant is invoiced."""
    async with conn.cursor(row_factory=typed_row(InvoiceChain)) as cursor:
        await cursor.execute(_QUERIES["get_chain"], {"tenant_id": tenant.tenant_id})
        chain = await cursor.fetchone()
    assert chain is not None, "it is one row, whatever was finalized"
    return chain


async def take_usage(
    conn: AsyncConnection, tenant: Tenant, *, invoice_id: str, end_time: datetime
) -> None:
    """Put everything that waits, and was charged before a time, onto an invoice; for good."""
    await conn.execute(
        _QUERIES["take_usage"],
        {"tenant_id": tenant.tenant_id, "invoice_id": invoice_id, "end_time": end_time},
    )


async def derive_draft(
    conn: AsyncConnection,
    tenant: Tenant,
    *,
    period: BillingPeriod,
    chain: InvoiceChain,
    issuer: Issuer,
    now: datetime,
    taken: bool = False,
) -> Draft:
    """Derive the invoice of a period from what waits for it, or from what it has taken.

    Late facts of earlier periods are on the next invoice that is finalized, and on no other.

    Raises:
        LedgerMismatchError: usage and captures of the period differ; nothing may be invoiced.
    """
    start_time = chain.start_of(period)
    late_before = chain.last_end_time if chain.is_next(period) else None
    usage = await _read_period(
        conn,
        tenant,
        start_time=start_time,
        end_time=period.end_time,
        late_before=_ALWAYS if taken else late_before or _NEVER,
        taken_by=period.invoice_id if taken else None,
        factors=issuer.energy_factors,
    )
    _check_against_ledger(usage, tenant=tenant, period=period)
    totals = total_invoice(
        usage.line_sums,
        _documents(usage.prices),
        currency=tenant.currency,
        prepaid_nanos=usage.prepaid_nanos,
        period_price=await _period_price(conn, tenant, period=period, now=now),
    )
    invoice = Invoice(
        tenant_id=tenant.tenant_id,
        invoice_id=period.invoice_id,
        invoice_number=None,
        state=InvoiceState.DRAFT,
        issue_time=now,
        billing_period_start=start_time,
        billing_period_end=period.end_time,
        time_zone=tenant.time_zone,
        seller=issuer.seller,
        buyer=_buyer(tenant),
        currency=tenant.currency,
        lines=totals.lines,
        subtotal_nanos=totals.subtotal_nanos,
        tax_nanos=totals.tax_nanos,
        credit_applied_nanos=totals.credit_applied_nanos,
        rounding_nanos=totals.rounding_nanos,
        total_nanos=totals.total_nanos,
        image_count=usage.image_count,
        failed_image_count=usage.failed_image_count,
        energy=tuple(_energy(part, issuer.energy_factors) for part in usage.energy),
        images=usage.images,
        days=usage.days,
        failures=usage.failures,
    )
    return Draft(invoice=invoice, totals=totals)


async def _read_period(
    conn: AsyncConnection,
    tenant: Tenant,
    *,
    start_time: datetime,
    end_time: datetime,
    late_before: datetime,
    taken_by: str | None,
    factors: Sequence[EnergyFactors],
) -> _PeriodUsage:
    async with conn.cursor(row_factory=typed_row(_PeriodUsage)) as cursor:
        await cursor.execute(
            _QUERIES["read_period"],
            {
                "tenant_id": tenant.tenant_id,
                "time_zone": tenant.time_zone,
                "start_time": start_time,
                "end_time": end_time,
                "late_before": late_before,
                "taken_by": taken_by,
                # An array of none has no type to compare with: the first version begins at once.
                "factor_times": [version.effective_time for version in factors] or [_ALWAYS],
                "images_max": _APPENDIX_IMAGES_MAX,
            },
        )
        usage = await cursor.fetchone()
    assert usage is not None, "a SELECT of scalars gives one row"
    return usage


async def _period_price(
    conn: AsyncConnection, tenant: Tenant, *, period: BillingPeriod, now: datetime
) -> price_document.PriceDocument | None:
    """The price in effect in the period's last instant, or now while it runs."""
    last_instant = period.end_time - timedelta(microseconds=1)
    version = await current_price(
        conn,
        price_book=tenant.price_book,
        currency=tenant.currency,
        at=min(now, last_instant),
    )
    return None if version is None else version.document


def _check_against_ledger(usage: _PeriodUsage, *, tenant: Tenant, period: BillingPeriod) -> None:
    line_nanos = sum(line.billed_cost_nanos for line in usage.line_sums)
    if not line_nanos == usage.priced_nanos == usage.captured_nanos:
        raise LedgerMismatchError(
            f"{tenant.tenant_id} {period.invoice_id}: lines {line_nanos}, "
            f"prices {usage.priced_nanos}, captures {usage.captured_nanos} nanos"
        )


def _documents(prices: Sequence[_Price]) -> dict[PriceId, price_document.PriceDocument]:
    return {price.price_id: price_document.from_json(price.document) for price in prices}


def _energy(part: _EnergySum, factors: Sequence[EnergyFactors]) -> InvoiceEnergy:
    return InvoiceEnergy(
        model=part.model,
        energy_source=part.energy_source,
        image_count=part.image_count,
        energy_millijoules=part.energy_millijoules,
        energy_error_millijoules=part.energy_error_millijoules,
        factors=factors[part.factors_number - 1] if part.factors_number else None,
    )


def _buyer(tenant: Tenant) -> Party:
    return Party(
        legal_name=tenant.legal_name or tenant.display_name,
        postal_address=tenant.postal_address,
        vat_id=tenant.vat_id,
    )
