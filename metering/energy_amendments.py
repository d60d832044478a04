"""Energy that arrived after its image was charged: from here every report shows the same of it.

The record stays as it was priced. What is shown is the view `shown_usage`, which receipts, usage,
roll-ups, drafts and margins read; a finalized invoice stays as it was sent.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from psycopg import AsyncConnection

from database.queries import load_queries
from database.rows import typed_row
from metering.energy_source import EnergySource
from metering.energy_store import ImageEnergy, image_energy
from tenants.ids import GpuId, ImageId, SessionId, TenantId

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a round over what is PARTIAL has come."""

    charge_time: datetime
    image_id: ImageId


ROUND_START: Final = Place(charge_time=datetime.min.replace(tzinfo=UTC), image_id=ImageId(""))


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialUsage:
    """A charged attempt with a part of its energy, and what is shown of it."""

    tenant_id: TenantId
    image_id: ImageId
    attempt: int
    gpu_id: GpuId
    session_id: SessionId
    last_mark_number: int
    charge_time: datetime
    energy_millijoules: int
    energy_error_millijoules: int
    energy_source: EnergySource

    def shows(self, energy: ImageEnergy) -> bool:
        """Whether reports say this already."""
        return (self.energy_millijoules, self.energy_error_millijoules, self.energy_source) == (
            energy.millijoules,
            energy.error_millijoules,
            energy.source,
        )


async def list_partial(
    conn: AsyncConnection, *, after: Place, limit: int
) -> tuple[list[PartialUsage], Place]:
    """List a part of what was charged without all of its energy, and where the next part begins.

    That is ``ROUND_START`` again when this was the last one.
    """
    async with conn.cursor(row_factory=typed_row(PartialUsage)) as cursor:
        await cursor.execute(
            _QUERIES["partial_usage"],
            {"after_time": after.charge_time, "after_image_id": after.image_id, "limit": limit},
        )
        partial = await cursor.fetchall()
    if len(partial) < limit:
        return partial, ROUND_START
    return partial, Place(charge_time=partial[-1].charge_time, image_id=partial[-1].image_id)


async def amend(conn: AsyncConnection, usage: PartialUsage) -> bool:
    """Show what an image has taken as far as it is known now; False when that is shown already."""
    energy = await image_energy(
        conn,
        image_id=usage.image_id,
        attempt=usage.attempt,
        gpu_id=usage.gpu_id,
        session_id=usage.session_id,
        last_mark_number=usage.last_mark_number,
    )
    if usage.shows(energy):
        return False
    tenant = {"tenant_id": usage.tenant_id}
    # A tenant whose roll-ups were never made waits for them: they could miss this while it is made.
    if (await conn.execute(_QUERIES["lock_clock"], tenant)).rowcount == 0:
        return False
    await conn.execute(
        _QUERIES["amend"],
        {
            **tenant,
            "image_id": usage.image_id,
            "energy_millijoules": energy.millijoules,
            "energy_error_millijoules": energy.error_millijoules,
            "energy_source": energy.source,
        },
    )
    return True
