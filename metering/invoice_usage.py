"""What an invoice is made of: everything of one period, read at one instant."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from metering.energy_factors import EnergyFactors
from metering.energy_source import EnergySource
from metering.invoice_document import InvoiceDay, InvoiceFailure, InvoiceImage
from metering.invoice_period_end import UsageLineSum
from tenants.ids import PriceId
from tenants.tenant_store import Tenant

_QUERIES: Final = load_queries(__file__)
# Four pages of appendix; who draws more takes the CSV of usage.
_APPENDIX_IMAGES_MAX: Final = 200
_ALWAYS: Final = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedPrice:
    """A price version that images of the period were charged by, with its document unread."""

    price_id: PriceId
    document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergySum:
    """Energy of one model's images, of one source and under one version of the factors."""

    model: str
    energy_source: EnergySource
    factors_number: int
    image_count: int
    energy_millijoules: int
    energy_error_millijoules: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodUsage:
    """Everything of one period, read by one statement and so at one instant."""

    image_count: int
    failed_image_count: int
    priced_nanos: int
    captured_nanos: int
    prepaid_nanos: int
    line_sums: tuple[UsageLineSum, ...]
    prices: tuple[PinnedPrice, ...]
    energy: tuple[EnergySum, ...]
    days: tuple[InvoiceDay, ...]
    failures: tuple[InvoiceFailure, ...]
    images: tuple[InvoiceImage, ...]


async def take_usage(
    conn: AsyncConnection, tenant: Tenant, *, invoice_id: str, end_time: datetime
) -> None:
    """Put everything that waits, and was charged before a time, onto an invoice; for good."""
    await conn.execute(
        _QUERIES["take_usage"],
        {"tenant_id": tenant.tenant_id, "invoice_id": invoice_id, "end_time": end_time},
    )


async def read_period(
    conn: AsyncConnection,
    tenant: Tenant,
    *,
    start_time: datetime,
    end_time: datetime,
    late_before: datetime,
    taken_by: str | None,
    factors: Sequence[EnergyFactors],
) -> PeriodUsage:
    """Read what waits for a period's invoice, or what an invoice has taken.

    What was charged before ``start_time`` is part of it where it lies before ``late_before``.
    """
    async with conn.cursor(row_factory=typed_row(PeriodUsage)) as cursor:
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
