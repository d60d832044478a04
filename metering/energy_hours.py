"""Where the joules of each GPU went, hour by hour, against what its own counter says.

An hour is worked out from what never changes (readings, segments, shares) and from what became of
the attempts. It is stored again and again until it is final, and sealed then: the GPU's timeline
has passed it, nothing of it is in progress, and its parts add up to the counter.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final, NamedTuple

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from database.queries import load_queries
from database.rows import typed_row
from metering.energy_source import EnergySource
from metering.parked_energy import ParkedHour, store_parked
from tenants.ids import GpuId

_QUERIES: Final = load_queries(__file__)


class GpuHour(NamedTuple):
    """A GPU and the start of a UTC hour."""

    gpu_id: GpuId
    hour_start_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HourReconciliation:
    """Where the joules of one GPU went in one UTC hour, against what its counter says."""

    gpu_id: GpuId
    hour_start_time: datetime
    # Of the readings, joined by "+".
    sources: str
    counter_millijoules: int
    # Attempts that succeeded.
    images_millijoules: int
    # Attempts that did not, and time of workers that nobody can account for: their tenants'.
    overhead_millijoules: int
    # Attempts that have not ended, or wait for a review.
    in_progress_millijoules: int
    # Workers that had nothing to do.
    parked_millijoules: int
    # No worker was there.
    free_millijoules: int
    load_millijoules: int
    unknown_millijoules: int
    segment_count: int

    @property
    def idle_millijoules(self) -> int:
        return self.parked_millijoules + self.free_millijoules

    @property
    def residual_millijoules(self) -> int:
        """What the counter says and nobody was booked for; 0, or something is wrong."""
        return self.counter_millijoules - (
            self.images_millijoules
            + self.overhead_millijoules
            + self.in_progress_millijoules
            + self.idle_millijoules
            + self.load_millijoules
            + self.unknown_millijoules
        )

    @property
    def weakest_source(self) -> EnergySource:
        told = self.sources.split("+")
        return max(map(EnergySource, filter(None, told)), key=_WEAKNESS.index, default=_NO_SOURCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciledHour(HourReconciliation):
    """An hour as it stands now."""

    # Another value tells that segments came since.
    segment_mark: int
    # Whose workers had nothing to do: the parts of ``parked_millijoules``.
    parked_hours: tuple[ParkedHour, ...]
    # The GPU's timeline goes on in a later hour.
    is_past: bool

    @property
    def is_final(self) -> bool:
        return self.is_past and not self.in_progress_millijoules and not self.residual_millijoules


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHour(HourReconciliation):
    """An hour as it was stored last."""

    update_time: datetime
    # Unset until it is final.
    seal_time: datetime | None


_WEAKNESS: Final = list(EnergySource)
_NO_SOURCE: Final = EnergySource.NONE


async def reconciliations(
    conn: AsyncConnection, *, since_hour: datetime, until_hour: datetime
) -> list[ReconciledHour]:
    """Work out every GPU's hours that begin in [since, until), by GPU and time.

    For a role that sees all tenants.
    """
    values = {"since_hour": since_hour, "until_hour": until_hour}
    cursor = await conn.execute(_QUERIES["hours_between"], values)
    return await _reconcile(conn, [GpuHour(*row) for row in await cursor.fetchall()])


async def store_open_hours(conn: AsyncConnection, *, hours_max: int) -> list[ReconciledHour]:
    """Work out hours that are not final, or have grown since, and store them; return them.

    At most ``hours_max``, those first that were looked at the longest ago. An hour that was sealed
    and grew all the same (the host's clock was put back) opens again. For the housekeeper's role.
    """
    cursor = await conn.execute(_QUERIES["hours_to_store"], {"limit": hours_max})
    found = await _reconcile(conn, [GpuHour(*row) for row in await cursor.fetchall()])
    rows = [asdict(hour) | {"is_final": hour.is_final} for hour in found]
    async with conn.cursor() as cursor:
        await cursor.executemany(_QUERIES["store_hour"], rows)
        await cursor.executemany(_QUERIES["note_sealed"], [row for row in rows if row["is_final"]])
    await store_parked(conn, [parked for hour in found for parked in hour.parked_hours])
    return found


async def knows_gpu(conn: AsyncConnection, gpu_id: GpuId) -> bool:
    """Tell whether a meter ever named this GPU."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["knows_gpu"], {"gpu_id": gpu_id})
        return bool(await cursor.fetchone())


async def stored_hours(
    conn: AsyncConnection,
    *,
    gpu_id: GpuId | None,
    start_time: datetime | None,
    end_time: datetime | None,
    after: GpuHour | None,
    limit: int,
) -> list[StoredHour]:
    """List stored hours that begin in [start, end), by GPU and time, behind ``after``."""
    values = {
        "gpu_id": gpu_id,
        "start_time": start_time,
        "end_time": end_time,
        "after_gpu_id": after.gpu_id if after else None,
        "after_hour": after.hour_start_time if after else None,
        "limit": limit,
    }
    async with conn.cursor(row_factory=typed_row(StoredHour)) as cursor:
        await cursor.execute(_QUERIES["stored_hours"], values)
        return await cursor.fetchall()


async def _reconcile(conn: AsyncConnection, hours: Sequence[GpuHour]) -> list[ReconciledHour]:
    values = {
        "gpu_ids": [hour.gpu_id for hour in hours],
        "hours": [hour.hour_start_time for hour in hours],
    }
    async with conn.cursor(row_factory=typed_row(ReconciledHour)) as cursor:
        await cursor.execute(_QUERIES["reconcile"], values)
        return await cursor.fetchall()
