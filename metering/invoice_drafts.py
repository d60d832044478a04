"""Drafts: what a period's invoice would say at this moment, derived from usage and the ledger."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from database.pool import Connection
from metering import price_document
from metering.energy_factors import EnergyFactors
from metering.errors import LedgerMismatchError
from metering.invoice_chain import InvoiceChain
from metering.invoice_document import Invoice, InvoiceEnergy, InvoiceState, Party
from metering.invoice_totals import InvoiceTotals, total_invoice
from metering.invoice_usage import EnergySum, PeriodUsage, PinnedPrice, read_period
from metering.parked_energy import read_parked
from metering.periods import BillingPeriod
from metering.price_book import price_in_force
from tenants.ids import PriceId
from tenants.tenant_store import Tenant

_NEVER: Final = datetime.min.replace(tzinfo=UTC)
_ALWAYS: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Who invoices, and by which factors its energy becomes carbon dioxide."""

    seller: Party
    energy_factors: tuple[EnergyFactors, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A draft, and what its totals mean for the ledger."""

    invoice: Invoice
    totals: InvoiceTotals


async def derive_draft(
    conn: Connection,
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
    Prepaid credit that earlier months will use up, when they are finalized, is not promised again.

    Raises:
        LedgerMismatchError: usage and captures of the period differ; nothing may be invoiced.
    """
    promised_nanos = 0
    if not taken:
        for earlier in _waiting_before(period, chain):
            _, totals = await _settle(
                conn, tenant, earlier, chain, now=now, promised_nanos=promised_nanos
            )
            promised_nanos += totals.credit_applied_nanos
    usage, totals = await _settle(
        conn,
        tenant,
        period,
        chain,
        now=now,
        promised_nanos=promised_nanos,
        taken=taken,
        factors=issuer.energy_factors,
    )
    invoice = _invoice(
        tenant, usage, totals, period=period, chain=chain, issuer=issuer, issue_time=now
    )
    return Draft(invoice=invoice, totals=totals)


def _waiting_before(period: BillingPeriod, chain: InvoiceChain) -> Iterator[BillingPeriod]:
    """The months from the next to be finalized up to, not including, this one."""
    if chain.next_id is None:
        return
    waiting = BillingPeriod.parse(chain.next_id, time_zone=chain.time_zone)
    while waiting.invoice_id < period.invoice_id:
        yield waiting
        waiting = waiting.following


async def _settle(
    conn: Connection,
    tenant: Tenant,
    period: BillingPeriod,
    chain: InvoiceChain,
    *,
    now: datetime,
    promised_nanos: int,
    taken: bool = False,
    factors: Sequence[EnergyFactors] = (),
) -> tuple[PeriodUsage, InvoiceTotals]:
    late_before = chain.last_end_time if chain.is_next(period) else None
    usage = await read_period(
        conn,
        tenant,
        start_time=chain.start_of(period),
        end_time=period.end_time,
        late_before=_ALWAYS if taken else late_before or _NEVER,
        taken_by=period.invoice_id if taken else None,
        factors=factors,
    )
    _check_against_ledger(usage, tenant=tenant, period=period)
    totals = total_invoice(
        usage.line_sums,
        _documents(usage.prices),
        currency=tenant.currency,
        prepaid_nanos=usage.prepaid_nanos - promised_nanos,
        period_price=await _period_price(conn, tenant, period=period, now=now),
        parked=await read_parked(
            conn, tenant.tenant_id, start_time=chain.start_of(period), end_time=period.end_time
        ),
    )
    return usage, totals


def _invoice(
    tenant: Tenant,
    usage: PeriodUsage,
    totals: InvoiceTotals,
    *,
    period: BillingPeriod,
    chain: InvoiceChain,
    issuer: Issuer,
    issue_time: datetime,
) -> Invoice:
    return Invoice(
        tenant_id=tenant.tenant_id,
        invoice_id=period.invoice_id,
        invoice_number=None,
        state=InvoiceState.DRAFT,
        issue_time=issue_time,
        billing_period_start=chain.start_of(period),
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


async def _period_price(
    conn: Connection, tenant: Tenant, *, period: BillingPeriod, now: datetime
) -> price_document.PriceDocument | None:
    """The tenant's price, of the book of then, in the period's last instant; now while it runs."""
    last_instant = period.end_time - timedelta(microseconds=1)
    version = await price_in_force(
        conn,
        tenant_id=tenant.tenant_id,
        currency=tenant.currency,
        at=min(now, last_instant),
    )
    return None if version is None else version.document


def _check_against_ledger(usage: PeriodUsage, *, tenant: Tenant, period: BillingPeriod) -> None:
    line_nanos = sum(line.billed_cost_nanos for line in usage.line_sums)
    if not line_nanos == usage.priced_nanos == usage.captured_nanos:
        raise LedgerMismatchError(
            f"{tenant.tenant_id} {period.invoice_id}: lines {line_nanos}, "
            f"prices {usage.priced_nanos}, captures {usage.captured_nanos} nanos"
        )


def _documents(prices: Sequence[PinnedPrice]) -> dict[PriceId, price_document.PriceDocument]:
    return {price.price_id: price_document.from_json(price.document) for price in prices}


def _energy(part: EnergySum, factors: Sequence[EnergyFactors]) -> InvoiceEnergy:
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
