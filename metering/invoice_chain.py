"""The chain of a tenant's invoices: how far it is finalized, and which month comes next."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from database.queries import load_queries
from database.rows import typed_row
from metering.periods import BillingPeriod
from tenants.tenant_store import Tenant

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceChain:
    """How far a tenant is invoiced: the last finalized period, and what waits behind it.

    ``owed_ids`` are the months behind it, up to now, that owe something even if nothing was used in
    them: a minimum, or energy of workers that waited.
    """

    time_zone: str
    last_invoice_id: str | None
    last_end_time: datetime | None
    first_waiting_time: datetime | None
    owed_ids: tuple[str, ...]

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

    @property
    def next_id(self) -> str | None:
        """The month that must be finalized next; None when nothing was used and none is owed."""
        waiting_ids = list(self.owed_ids[:1])
        if self.first_waiting_time is not None:
            month = BillingPeriod.containing(self.first_waiting_time, time_zone=self.time_zone)
            # Another clock may call the hours behind the last invoice by the month it was for.
            waiting_ids.append(max(month.invoice_id, self._first_id or ""))
        return min(waiting_ids, default=None)

    def is_next(self, period: BillingPeriod) -> bool:
        """Whether nothing waits between the last finalized period and this one."""
        return self.next_id is None or period.invoice_id <= self.next_id

    def next_period(self, now: datetime) -> BillingPeriod:
        """The period that must be finalized next, or the running one."""
        if self.next_id is None:
            return BillingPeriod.containing(now, time_zone=self.time_zone)
        return BillingPeriod.parse(self.next_id, time_zone=self.time_zone)

    @property
    def _first_id(self) -> str | None:
        """The month behind the last invoice; None before the first one."""
        if self.last_invoice_id is None:
            return None
        last = BillingPeriod.parse(self.last_invoice_id, time_zone=self.time_zone)
        return last.following.invoice_id


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    last_invoice_id: str | None
    last_end_time: datetime | None
    first_waiting_time: datetime | None


async def get_chain(conn: AsyncConnection, tenant: Tenant, *, now: datetime) -> InvoiceChain:
    """Find out how far a tenant is invoiced."""
    async with conn.cursor(row_factory=typed_row(_Row)) as cursor:
        await cursor.execute(_QUERIES["get_chain"], {"tenant_id": tenant.tenant_id})
        row = await cursor.fetchone()
    assert row is not None, "it is one row, whatever was finalized"
    return InvoiceChain(
        time_zone=tenant.time_zone,
        last_invoice_id=row.last_invoice_id,
        last_end_time=row.last_end_time,
        first_waiting_time=row.first_waiting_time,
        owed_ids=await _owed_ids(
            conn, tenant, last_id=row.last_invoice_id, since=row.last_end_time, now=now
        ),
    )


async def _owed_ids(
    conn: AsyncConnection,
    tenant: Tenant,
    *,
    last_id: str | None,
    since: datetime | None,
    now: datetime,
) -> tuple[str, ...]:
    first = BillingPeriod.containing(tenant.create_time, time_zone=tenant.time_zone)
    if last_id is not None:
        first = BillingPeriod.parse(last_id, time_zone=tenant.time_zone).following
    last = BillingPeriod.containing(now, time_zone=tenant.time_zone)
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            _QUERIES["list_owed_months"],
            {
                "tenant_id": tenant.tenant_id,
                "currency": tenant.currency,
                "time_zone": tenant.time_zone,
                "first_month": f"{first.invoice_id}-01",
                "last_month": f"{last.invoice_id}-01",
                "since": since or datetime.min.replace(tzinfo=UTC),
                "now": now,
            },
        )
        return tuple(await cursor.fetchall())
