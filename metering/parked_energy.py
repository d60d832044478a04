"""Energy of workers that hold a GPU for their tenant and have nothing to do.

Who carries it is the price's policy (``parked_kwh_price_nanos``): the operator, or the tenant by
the kWh at each period's end. An hour belongs to the period in which it begins. What a meter sends
after an invoice was finalized stays the operator's.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from metering.energy_source import EnergySource
from metering.price_document import PriceDocument
from tenants.ids import GpuId, TenantId

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedHour:
    """What one tenant's worker took of one GPU in one UTC hour while it waited."""

    tenant_id: TenantId
    gpu_id: GpuId
    hour_start_time: datetime
    source: EnergySource
    millijoules: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedEnergy:
    """What a tenant's workers took in a time while they waited; readings and estimates apart."""

    measured_millijoules: int = 0
    estimated_millijoules: int = 0

    def charged_millijoules(self, price: PriceDocument) -> int:
        """What a price charges for; estimates only where it does so for images too."""
        if price.parked_kwh_price_nanos == 0:
            return 0
        if price.charge_estimated_energy:
            return self.measured_millijoules + self.estimated_millijoules
        return self.measured_millijoules


NOTHING_PARKED: Final = ParkedEnergy()


async def store_parked(conn: AsyncConnection, hours: Iterable[ParkedHour]) -> None:
    """Write down what is known of hours now; it takes the place of what was known before."""
    async with conn.cursor() as cursor:
        await cursor.executemany(_QUERIES["store_parked"], [asdict(hour) for hour in hours])


async def read_parked(
    conn: AsyncConnection, tenant_id: TenantId, *, start_time: datetime, end_time: datetime
) -> ParkedEnergy:
    """Sum the hours that begin within [start, end)."""
    async with conn.cursor(row_factory=typed_row(ParkedEnergy)) as cursor:
        await cursor.execute(
            _QUERIES["read_parked"],
            {"tenant_id": tenant_id, "start_time": start_time, "end_time": end_time},
        )
        parked = await cursor.fetchone()
    assert parked is not None, "an aggregate gives a row"
    return parked
