"""What the fleet reads of tenants and images, and what it writes about workers."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum

from database.pool import Connection
from database.queries import load_queries
from database.rows import typed_row

queries = load_queries(__file__)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogRow:
    """Images of one tenant and model that are queued or being drawn."""

    tenant_id: str
    model: str
    image_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """What a worker said of itself through the recorder."""

    tenant_id: str
    gpu_id: str
    process_id: int
    ready: bool
    # Its lease ended longer ago than a healthy worker's can.
    silent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """A worker as the operator sees it."""

    tenant_id: str
    gpu_id: str
    model: str
    launcher: str
    process_id: int | None
    state: WorkerState
    restart_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What the fleet decides from, read at one time."""

    tenants: tuple[TenantRow, ...]
    backlog: tuple[BacklogRow, ...]
    sessions: tuple[SessionRow, ...]


async def read_situation(connection: Connection, *, silence_seconds: float) -> Situation:
    """Read tenants, open images and workers' sessions."""
    async with connection.cursor(row_factory=typed_row(TenantRow)) as cursor:
        tenants = await (await cursor.execute(queries["list_tenants"])).fetchall()
    async with connection.cursor(row_factory=typed_row(BacklogRow)) as cursor:
        backlog = await (await cursor.execute(queries["count_backlog"])).fetchall()
    async with connection.cursor(row_factory=typed_row(SessionRow)) as cursor:
        parameters = {"silence_seconds": silence_seconds}
        sessions = await (await cursor.execute(queries["list_sessions"], parameters)).fetchall()
    return Situation(tenants=tuple(tenants), backlog=tuple(backlog), sessions=tuple(sessions))


async def write_workers(connection: Connection, workers: Sequence[WorkerRow]) -> None:
    """Make the table show these workers and no others."""
    gpu_ids = [worker.gpu_id for worker in workers]
    async with connection.transaction(), connection.cursor() as cursor:
        await cursor.execute(queries["delete_workers_except"], {"gpu_ids": gpu_ids})
        for worker in workers:
            await cursor.execute(queries["write_worker"], asdict(worker))
