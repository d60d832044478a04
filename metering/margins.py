"""What the operator earned: the same facts priced twice, at the sell price and at its own cost."""

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from metering.cost_book import CostBook, CostVersion, read_cost_book
from metering.price_document import Component, PriceDocument
from metering.rating import RatingFacts, rate
from tenants.ids import CostId, ImageId, JobId, TenantId

_QUERIES: Final = load_queries(__file__)
# As many as a thread rates in a tenth of a second.
_IMAGES_PER_PART: Final = 2_000


class MarginDimension(StrEnum):
    """What margins may be split by."""

    TENANT = "TENANT"
    JOB = "JOB"
    # Of the tenant's time zone.
    DAY = "DAY"
    IMAGE = "IMAGE"


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginFilter:
    """Which images: charged from ``start_time`` up to, not including, ``end_time``."""

    start_time: datetime
    end_time: datetime
    tenant_id: TenantId | None = None
    job_id: JobId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SoldImage(RatingFacts):
    """An image that was charged; ``price_nanos`` is what for, before tax."""

    tenant_id: TenantId
    job_id: JobId
    image_id: ImageId
    day: date
    charge_time: datetime
    currency: str
    price_nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginKey:
    """A group; what does not tell it from others is None."""

    tenant_id: TenantId | None
    job_id: JobId | None
    image_id: ImageId | None
    day: date | None
    currency: str

    def value(self, dimension: MarginDimension) -> str:
        """What a dimension is in this group; empty when it was not asked for."""
        values = {
            MarginDimension.TENANT: self.tenant_id or "",
            MarginDimension.JOB: self.job_id or "",
            MarginDimension.DAY: self.day.isoformat() if self.day else "",
            MarginDimension.IMAGE: self.image_id or "",
        }
        return values[dimension]


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """Revenue before tax and what is settled at a period's end, beside the operator's own cost.

    ``uncosted_count`` images were charged before the cost book began, and ``energy_uncosted_count``
    others are without the cost of their energy, because it was not read in whole.
    """

    image_count: int = 0
    revenue_nanos: int = 0
    gpu_cost_nanos: int = 0
    energy_cost_nanos: int = 0
    uncosted_count: int = 0
    energy_uncosted_count: int = 0

    @property
    def cost_nanos(self) -> int:
        """What is known of the cost."""
        return self.gpu_cost_nanos + self.energy_cost_nanos

    @property
    def margin_nanos(self) -> int | None:
        """What remains; None as long as a part of the cost is unknown."""
        if self.uncosted_count or self.energy_uncosted_count:
            return None
        return self.revenue_nanos - self.cost_nanos

    def __add__(self, other: "Margin") -> "Margin":
        """Both together; of one currency."""
        return Margin(
            image_count=self.image_count + other.image_count,
            revenue_nanos=self.revenue_nanos + other.revenue_nanos,
            gpu_cost_nanos=self.gpu_cost_nanos + other.gpu_cost_nanos,
            energy_cost_nanos=self.energy_cost_nanos + other.energy_cost_nanos,
            uncosted_count=self.uncosted_count + other.uncosted_count,
            energy_uncosted_count=self.energy_uncosted_count + other.energy_uncosted_count,
        )


class MarginReport:
    """Adds up images, group by group."""

    def __init__(self, book: CostBook, group_by: Collection[MarginDimension]) -> None:
        self._book = book
        self._group_by = tuple(group_by)
        self._prices: dict[CostId, PriceDocument] = {}
        self._groups: dict[MarginKey, Margin] = {}

    def add(self, images: Iterable[SoldImage]) -> None:
        """Rate more images at cost."""
        for image in images:
            key = self._key(image)
            self._groups[key] = self._groups.get(key, Margin()) + self._margin(image)

    def groups(self) -> list[tuple[MarginKey, Margin]]:
        """Every group, ordered by its values."""
        return sorted(self._groups.items(), key=lambda group: self._order(group[0]))

    def totals(self) -> dict[str, Margin]:
        """All groups together, by currency."""
        totals: dict[str, Margin] = {}
        for key, margin in self.groups():
            totals[key.currency] = totals.get(key.currency, Margin()) + margin
        return totals

    def _key(self, image: SoldImage) -> MarginKey:
        by = set(self._group_by)
        return MarginKey(
            # The names of jobs and images carry their tenant's and job's.
            tenant_id=image.tenant_id if not by <= {MarginDimension.DAY} else None,
            job_id=image.job_id if by & {MarginDimension.JOB, MarginDimension.IMAGE} else None,
            image_id=image.image_id if MarginDimension.IMAGE in by else None,
            day=image.day if MarginDimension.DAY in by else None,
            currency=image.currency,
        )

    def _order(self, key: MarginKey) -> tuple[str, ...]:
        return (*(key.value(dimension) for dimension in self._group_by), key.currency)

    def _margin(self, image: SoldImage) -> Margin:
        version = self._book.at(image.charge_time, currency=image.currency)
        if version is None:
            return Margin(image_count=1, revenue_nanos=image.price_nanos, uncosted_count=1)
        costs = {
            line.component: line.billed_cost_nanos
            for line in rate(self._price(version), image).lines
        }
        return Margin(
            image_count=1,
            revenue_nanos=image.price_nanos,
            gpu_cost_nanos=costs[Component.PER_GPU_SECOND],
            energy_cost_nanos=costs.get(Component.PER_KWH, 0),
            energy_uncosted_count=int(Component.PER_KWH not in costs),
        )

    def _price(self, version: CostVersion) -> PriceDocument:
        if version.cost_id not in self._prices:
            self._prices[version.cost_id] = version.document.as_price()
        return self._prices[version.cost_id]


async def query_margin(
    conn: AsyncConnection, chosen: MarginFilter, *, group_by: Collection[MarginDimension]
) -> MarginReport:
    """Add up what was charged; the connection is the operator's, in a transaction."""
    report = MarginReport(await read_cost_book(conn), group_by)
    # By a cursor of the server: a month of all tenants is not held in memory.
    async with conn.cursor("sold_images", row_factory=typed_row(SoldImage)) as cursor:
        await cursor.execute(
            _QUERIES["sold_images"],
            {
                "start_time": chosen.start_time,
                "end_time": chosen.end_time,
                "tenant_id": chosen.tenant_id,
                "job_id": chosen.job_id,
            },
        )
        while images := await cursor.fetchmany(_IMAGES_PER_PART):
            await asyncio.to_thread(report.add, images)
    return report
