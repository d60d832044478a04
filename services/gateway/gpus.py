"""What operators see of GPUs and workers, and what they wish of them. The operator's pool."""

from dataclasses import dataclass
from datetime import datetime

from database.pool import Connection
from database.queries import load_queries
from database.rows import typed_row

_QUERIES = load_queries(__file__)
# In place of a GPU's id: all of them.
ALL_GPUS = "-"
# Those on one host, or on all of a large installation.
_GPUS_MAX = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuRow:
    """A GPU with its newest sample, its worker and its policy; None where there is none."""

    gpu_id: str
    display_name: str
    kind: str
    device_uuid: str
    memory_bytes: int
    in_inventory: bool
    duty_cycle: float
    keep_empty_until: datetime | None
    temperature_celsius: float | None
    power_watts: float | None
    memory_used_bytes: int | None
    utilization: float | None
    clock_megahertz: int | None
    throttle_reasons: tuple[str, ...]
    sample_time: datetime | None
    tenant_id: str | None
    model: str | None
    policy_gpu_id: str | None
    temperature_celsius_max: float | None
    duty_cycle_max: float | None
    policy_update_time: datetime | None
    running_image_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """A worker with what its start took."""

    gpu_id: str
    tenant_id: str
    model: str
    launcher: str
    isolation: str
    process_id: int | None
    state: str
    restart_count: int
    start_time: datetime | None
    cold_start_seconds: float | None
    drain_seconds: float | None
    running_image_count: int
    # Of its tenant's workers, by reason.
    refusal_counts: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """A power policy that was set."""

    gpu_id: str
    temperature_celsius_max: float
    duty_cycle_max: float
    update_time: datetime


async def list_gpus(conn: Connection, *, after: str, limit: int) -> list[GpuRow]:
    """List every GPU that was ever seen."""
    return await _gpus(conn, after=after, limit=limit, gpu_id=None, in_inventory_only=False)


async def present_gpus(conn: Connection) -> list[GpuRow]:
    """List the GPUs that are there now."""
    return await _gpus(conn, after="", limit=_GPUS_MAX, gpu_id=None, in_inventory_only=True)


async def get_gpu(conn: Connection, gpu_id: str) -> GpuRow | None:
    """Return one GPU; None for one that was never seen."""
    rows = await _gpus(conn, after="", limit=1, gpu_id=gpu_id, in_inventory_only=False)
    return rows[0] if rows else None


async def list_workers(conn: Connection, *, after: str, limit: int) -> list[WorkerRow]:
    """List the workers by GPU."""
    async with conn.cursor(row_factory=typed_row(WorkerRow)) as cursor:
        await cursor.execute(_QUERIES["list_workers"], {"after": after, "limit": limit})
        return await cursor.fetchall()


async def wish_drain(conn: Connection, gpu_id: str, *, keep_empty_seconds: float) -> bool:
    """Wish that a GPU's worker end; False when there is no such GPU."""
    cursor = await conn.execute(
        _QUERIES["wish_drain"], {"gpu_id": gpu_id, "keep_empty_seconds": keep_empty_seconds}
    )
    return await cursor.fetchone() is not None


async def set_power_policy(
    conn: Connection, gpu_id: str, *, temperature_celsius_max: float, duty_cycle_max: float
) -> PolicyRow | None:
    """Set the policy of a GPU or of all; None when there is no such GPU."""
    if gpu_id != ALL_GPUS:
        cursor = await conn.execute(_QUERIES["has_gpu"], {"gpu_id": gpu_id})
        if await cursor.fetchone() is None:
            return None
    async with conn.cursor(row_factory=typed_row(PolicyRow)) as cursor:
        await cursor.execute(
            _QUERIES["upsert_power_policy"],
            {
                "gpu_id": gpu_id,
                "temperature_celsius_max": temperature_celsius_max,
                "duty_cycle_max": duty_cycle_max,
            },
        )
        return await cursor.fetchone()


async def _gpus(
    conn: Connection, *, after: str, limit: int, gpu_id: str | None, in_inventory_only: bool
) -> list[GpuRow]:
    async with conn.cursor(row_factory=typed_row(GpuRow)) as cursor:
        await cursor.execute(
            _QUERIES["list_gpus"],
            {
                "after": after,
                "limit": limit,
                "gpu_id": gpu_id,
                "in_inventory_only": in_inventory_only,
            },
        )
        return await cursor.fetchall()
