"""Energy segments in the database: stored once, and joined with images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from psycopg import AsyncConnection
from psycopg.rows import scalar_row

from database.queries import load_queries
from database.rows import typed_row
from metering.energy_records import EnergySegment, LastReading, SegmentBatch
from metering.energy_source import EnergySource
from tenants.ids import GpuId, ImageId, SessionId

_QUERIES: Final = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEnergy:
    """What an attempt has taken, as far as it is stored."""

    millijoules: int
    # One standard deviation, without the sensor's systematic part.
    error_millijoules: int
    source: EnergySource


async def insert_segments(conn: AsyncConnection, batch: SegmentBatch) -> int:
    """Store what is new of a batch; return the number up to which the epoch is stored.

    Repeating a batch changes nothing. One that does not follow what is stored is not stored either:
    the answer is then smaller than its first number − 1, and the meter sends from there.
    For the role `atelier_meter_intake`, in the caller's transaction.
    """
    gpu = {"gpu_id": batch.gpu_id, "epoch": batch.epoch, "display_name": batch.display_name}
    await conn.execute(_QUERIES["name_gpu"], gpu)
    await conn.execute(_QUERIES["lock_gpu"], gpu)
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["last_number"], gpu)
        last_number = int(await cursor.fetchone() or 0)
    new = [segment for segment in batch.segments if segment.number > last_number]
    if not new or new[0].number != last_number + 1:
        return last_number
    await _insert(conn, batch, new)
    return new[-1].number


async def last_reading(conn: AsyncConnection, gpu_id: GpuId) -> LastReading | None:
    """Return where a restarted meter goes on; None for a GPU never seen."""
    async with conn.cursor(row_factory=typed_row(LastReading)) as cursor:
        await cursor.execute(_QUERIES["last_reading"], {"gpu_id": gpu_id})
        return await cursor.fetchone()


async def has_mark(
    conn: AsyncConnection, *, gpu_id: GpuId, session_id: SessionId, last_mark_number: int
) -> bool:
    """Tell whether the segments up to a session's mark are stored; what FinishImage waits for."""
    values = {"gpu_id": gpu_id, "session_id": session_id, "last_mark_number": last_mark_number}
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(_QUERIES["has_mark"], values)
        return bool(await cursor.fetchone())


async def image_energy(
    conn: AsyncConnection,
    *,
    image_id: ImageId,
    attempt: int,
    gpu_id: GpuId,
    session_id: SessionId,
    last_mark_number: int,
) -> ImageEnergy:
    """Join an attempt with its segments, whatever of them is stored by now.

    The source is PARTIAL when a part is missing or was not watched, and NONE for an attempt that
    never reached the device (``last_mark_number`` 0). Needs the attempt's tenant in the
    transaction.
    """
    values = {
        "image_id": image_id,
        "attempt": attempt,
        "gpu_id": gpu_id,
        "session_id": session_id,
        "last_mark_number": last_mark_number,
    }
    async with conn.cursor() as cursor:
        await cursor.execute(_QUERIES["image_energy"], values)
        row = await cursor.fetchone()
    assert row is not None
    millijoules, error_millijoules, source, is_complete = row
    if last_mark_number == 0 and millijoules == 0:
        source, is_complete = EnergySource.NONE, True
    return ImageEnergy(
        millijoules=millijoules,
        error_millijoules=error_millijoules,
        source=EnergySource(source) if is_complete else EnergySource.PARTIAL,
    )


async def _insert(
    conn: AsyncConnection, batch: SegmentBatch, segments: Sequence[EnergySegment]
) -> None:
    shares = [
        {
            "tenant_id": segment.tenant_id,
            "gpu_id": batch.gpu_id,
            "epoch": batch.epoch,
            "number": segment.number,
            "image_id": share.image_id,
            "attempt": share.attempt,
            "millijoules": share.millijoules,
            "error_millijoules": share.error_millijoules,
        }
        for segment in segments
        for share in segment.shares
    ]
    async with conn.cursor() as cursor:
        rows = [_segment_row(batch, segment) for segment in segments]
        await cursor.executemany(_QUERIES["insert_segment"], rows)
        if shares:
            await cursor.executemany(_QUERIES["insert_share"], shares)
        await cursor.execute(
            _QUERIES["note_readings"],
            {
                "gpu_id": batch.gpu_id,
                "epoch": batch.epoch,
                "hour_start_time": segments[-1].hour_start_time,
                "first_millijoules": batch.start_reading.millijoules,
                "first_read_time": batch.start_reading.read_time,
                "last_millijoules": batch.end_reading.millijoules,
                "last_read_time": batch.end_reading.read_time,
                "last_number": segments[-1].number,
                "source": segments[-1].source,
            },
        )


def _segment_row(batch: SegmentBatch, segment: EnergySegment) -> dict[str, object]:
    return {
        "gpu_id": batch.gpu_id,
        "epoch": batch.epoch,
        "number": segment.number,
        "start_time": segment.start_time,
        "end_time": segment.end_time,
        "hour_start_time": segment.hour_start_time,
        "millijoules": segment.millijoules,
        "error_millijoules": segment.error_millijoules,
        "kind": segment.kind,
        "source": segment.source,
        "tenant_id": segment.tenant_id,
        "session_id": segment.session_id,
        "last_mark_number": segment.last_mark_number,
    }
