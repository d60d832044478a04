"""What the fleet reads of tenants, images and wishes, and what it writes about workers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from psycopg.rows import scalar_row

from database.pool import Connection
from database.queries import load_queries
from database.rows import typed_row
from tenants.ids import SessionId

queries = load_queries(__file__)

Row = TypeVar("Row")

# Enough for a rate that one odd picture does not move.
_SPEED_PICTURES = 500
_COLD_STARTS = 50


class WorkerState(StrEnum):
    """What a worker is doing, as far as its starter knows."""

    STARTING = "STARTING"
    RUNNING = "RUNNING"
    DRAINING = "DRAINING"
    STOPPED = "STOPPED"


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRow:
    """An active tenant."""

    tenant_id: str
    # None: every model of the catalogue.
    allowed_models: tuple[str, ...] | None
    create_time: datetime
    gpu_weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogRow:
    """Images of one tenant, of one model and size, that are queued or being drawn."""

    tenant_id: str
    model: str
    width: int
    height: int
    num_inference_steps: int
    queued_count: int
    running_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """What a worker said of itself through the recorder."""

    tenant_id: str
    gpu_id: str
    session_id: SessionId
    model: str
    process_id: int
    start_time: datetime
    ready: bool
    # Its lease ended longer ago than a healthy worker's can.
    silent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WishRow:
    """What the operator wishes of a GPU."""

    gpu_id: str
    # Its worker shall end; the fleet takes the wish back once it was asked to.
    drain_wish_time: datetime | None
    # Nobody gets it for now.
    keep_empty: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRow:
    """How hot and how busy a GPU may be; `gpu_id` is "-" for all that have none of their own."""

    gpu_id: str
    temperature_celsius_max: float
    duty_cycle_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRow:
    """GPU-seconds of attempts that ended since the last look: pictures, or cancelled work."""

    tenant_id: str
    model: str
    drawn: bool
    seconds: float
    last_end_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """A worker as the operator sees it."""

    tenant_id: str
    gpu_id: str
    model: str
    launcher: str
    isolation: str
    process_id: int | None
    state: WorkerState
    restart_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """A worker that became ready: what it took, and who left for it."""

    gpu_id: str
    model: str
    tenant_id: str
    from_tenant_id: str | None
    drain_seconds: float | None
    cold_start_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the fleet decides from, read at one time."""

    tenants: tuple[TenantRow, ...]
    backlog: tuple[BacklogRow, ...]
    sessions: tuple[SessionRow, ...]
    wishes: tuple[WishRow, ...] = ()
    policies: tuple[PolicyRow, ...] = ()
    ended: tuple[EndedRow, ...] = ()
    # Tenants that are being deleted and may still have something here.
    leaving: tuple[str, ...] = ()


async def read_situation(
    connection: Connection, *, silence_seconds: float, ended_since: datetime
) -> Situation:
    """Read tenants, open images, workers' sessions, wishes, and what ended since a time."""
    return Situation(
        tenants=await _rows(connection, TenantRow, queries["list_tenants"]),
        backlog=await read_backlog(connection),
        sessions=await read_sessions(connection, silence_seconds=silence_seconds),
        wishes=await _rows(connection, WishRow, queries["list_wishes"]),
        policies=await read_policies(connection),
        ended=await _rows(connection, EndedRow, queries["list_ended"], {"since": ended_since}),
        leaving=await _leaving(connection),
    )


async def mark_cleared(connection: Connection, tenant_id: str) -> None:
    """Tell the housekeeper that nothing of a tenant runs or lies on this host any more."""
    await connection.execute(queries["mark_cleared"], {"tenant_id": tenant_id})


async def read_sessions(
    connection: Connection, *, silence_seconds: float
) -> tuple[SessionRow, ...]:
    """Read what the workers that have not said good-bye told of themselves."""
    parameters = {"silence_seconds": silence_seconds}
    return await _rows(connection, SessionRow, queries["list_sessions"], parameters)


async def read_policies(connection: Connection) -> tuple[PolicyRow, ...]:
    """Read what the operator allows GPUs."""
    return await _rows(connection, PolicyRow, queries["list_power_policies"])


async def read_backlog(connection: Connection) -> tuple[BacklogRow, ...]:
    """Read the open images alone."""
    return await _rows(connection, BacklogRow, queries["count_backlog"])


async def read_speeds(connection: Connection) -> dict[str, float]:
    """Measure each model on its newest pictures: GPU-seconds for a billion pixel-steps."""
    cursor = await connection.execute(queries["measure_speeds"], {"limit": _SPEED_PICTURES})
    return {model: float(seconds) for model, seconds in await cursor.fetchall()}


async def read_cold_starts(connection: Connection) -> list[tuple[str, float]]:
    """Return (model, seconds) of the newest cold starts, the oldest first."""
    cursor = await connection.execute(queries["newest_cold_starts"], {"limit": _COLD_STARTS})
    return [(model, float(seconds)) for model, seconds in reversed(await cursor.fetchall())]


async def read_now(connection: Connection) -> datetime:
    """Return the database's clock."""
    async with connection.cursor(row_factory=scalar_row) as cursor:
        now: datetime | None = await (await cursor.execute(queries["now"])).fetchone()
    assert now is not None
    return now


async def write_workers(connection: Connection, workers: Sequence[WorkerRow]) -> None:
    """Make the table show these workers and no others."""
    gpu_ids = [worker.gpu_id for worker in workers]
    async with connection.transaction(), connection.cursor() as cursor:
        await cursor.execute(queries["delete_workers_except"], {"gpu_ids": gpu_ids})
        for worker in workers:
            await cursor.execute(queries["write_worker"], asdict(worker))


async def clear_drain_wish(connection: Connection, wish: WishRow) -> None:
    """Take back a wish that is being carried out; a newer one stays."""
    await connection.execute(
        queries["clear_drain_wish"],
        {"gpu_id": wish.gpu_id, "drain_wish_time": wish.drain_wish_time},
    )


async def insert_handover(connection: Connection, handover: Handover) -> None:
    """Keep what a change of hands took."""
    await connection.execute(queries["insert_handover"], asdict(handover))


async def _leaving(connection: Connection) -> tuple[str, ...]:
    async with connection.cursor(row_factory=scalar_row) as cursor:
        return tuple(await (await cursor.execute(queries["list_leaving"])).fetchall())


async def _rows(
    connection: Connection,
    row_type: type[Row],
    query: bytes,
    parameters: Mapping[str, object] | None = None,
) -> tuple[Row, ...]:
    async with connection.cursor(row_factory=typed_row(row_type)) as cursor:
        return tuple(await (await cursor.execute(query, parameters)).fetchall())
