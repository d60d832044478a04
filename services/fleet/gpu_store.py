"""The inventory of GPUs in the database: what they are, how they do, how fast they may work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from database.pool import Connection
from database.queries import load_queries
from database.rows import typed_row
from services.fleet.inventory import Gpu, GpuKind

_QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _GpuRow:
    gpu_id: str
    kind: GpuKind
    device_uuid: str
    display_name: str
    memory_bytes: int


async def read_inventory(connection: Connection) -> list[Gpu]:
    """Return the devices as the fleet before knew them, without samples."""
    async with connection.cursor(row_factory=typed_row(_GpuRow)) as cursor:
        rows = await (await cursor.execute(_QUERIES["list_inventory"])).fetchall()
    return [
        Gpu(
            gpu_id=row.gpu_id,
            kind=row.kind,
            device_uuid=row.device_uuid,
            display_name=row.display_name,
            memory_bytes=row.memory_bytes,
        )
        for row in rows
    ]


async def write_inventory(
    connection: Connection, gpus: Sequence[Gpu], *, duty_cycles: Mapping[str, float]
) -> None:
    """Make the table show these devices and their pace; the others keep their rows."""
    async with connection.transaction():
        gpu_ids = [gpu.gpu_id for gpu in gpus]
        await connection.execute(_QUERIES["leave_inventory"], {"gpu_ids": gpu_ids})
        for gpu in gpus:
            await connection.execute(
                _QUERIES["upsert_gpu"],
                {
                    "gpu_id": gpu.gpu_id,
                    "kind": gpu.kind,
                    "device_uuid": gpu.device_uuid,
                    "display_name": gpu.display_name,
                    "memory_bytes": gpu.memory_bytes,
                    "duty_cycle": duty_cycles[gpu.gpu_id],
                },
            )


async def write_samples(connection: Connection, gpus: Sequence[Gpu]) -> None:
    """Overwrite what the sensors said; a device that said nothing keeps its old sample's time."""
    for gpu in gpus:
        if (sample := gpu.sample) is not None:
            await connection.execute(
                _QUERIES["upsert_sample"],
                {
                    "gpu_id": gpu.gpu_id,
                    "temperature_celsius": sample.temperature_celsius,
                    "power_watts": sample.power_watts,
                    "memory_used_bytes": sample.memory_used_bytes,
                    "utilization": sample.utilization,
                    "clock_megahertz": sample.clock_megahertz,
                    "throttle_reasons": list(sample.throttle_reasons),
                    "sample_time": sample.sample_time,
                },
            )
