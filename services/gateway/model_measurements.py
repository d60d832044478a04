"""What images of each kind took, measured on the tenant's own latest images and nobody else's."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from metering.energy_source import EnergySource
from tenants.ids import TenantId

_QUERIES: Final = load_queries(__file__)
# Bounds the question; what was drawn before says less of today's devices.
_IMAGES_MAX: Final = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredKind:
    """Medians of images of one kind, drawn by one sort of device with one precision and backend.

    ``seconds`` pass from leaving the engine's queue until the picture is safe.
    """

    model: str
    width: int
    height: int
    num_inference_steps: int
    device: str
    precision: str
    energy_source: EnergySource
    image_count: int
    seconds: float
    energy_millijoules: int
    measure_time: datetime


async def measured_kinds(conn: AsyncConnection, tenant_id: TenantId) -> Sequence[MeasuredKind]:
    """List what was measured, the kinds drawn most often first within their model."""
    async with conn.cursor(row_factory=typed_row(MeasuredKind)) as cursor:
        await cursor.execute(
            _QUERIES["measurements"], {"tenant_id": tenant_id, "images_max": _IMAGES_MAX}
        )
        return await cursor.fetchall()
