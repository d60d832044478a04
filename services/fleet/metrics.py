"""What the fleet tells Prometheus: open work by tenant, workers, devices.

The backlog is of the whole installation and every fleet tells it, active or not: take the maximum.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from database.pool import UNREACHABLE_ERRORS, Connection, open_pool
from database.queries import load_queries
from services.fleet.backlog import BacklogEstimate
from services.fleet.fleet import Fleet
from services.fleet.fleet_store import BacklogRow, WorkerState, read_backlog, read_speeds
from services.fleet.fleet_tally import FleetTally, Turn
from services.fleet.inventory import GpuKind
from services.fleet.settings import Settings
from services.metrics import names
from services.metrics.database_looks import DatabaseLook
from services.metrics.exposition import Exposition
from services.metrics.listener import serving_metrics
from services.metrics.metric import Sample, counted

_QUERIES: Final = load_queries(__file__)
# How fast pictures are drawn changes with the kind of pictures, which changes slowly.
_MEASURE_SECONDS: Final = 20.0
_RECONNECT_SECONDS: Final = 1.0
_SESSION_STATES: Final = ("ready", "preparing", "silent")


class OpenWorkLook:
    """Reads what is open in the whole installation."""

    def __init__(
        self,
        estimate: BacklogEstimate,
        *,
        silence_seconds: float,
        monotonic_seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._estimate = estimate
        self._silence_seconds = silence_seconds
        self._monotonic_seconds = monotonic_seconds
        self._measure_due = float("-inf")

    async def read(self, connection: Connection) -> Sequence[Sample]:
        """Look once; a tenant without work has zeros."""
        if self._monotonic_seconds() >= self._measure_due:
            self._estimate.speeds = await read_speeds(connection)
            self._measure_due = self._monotonic_seconds() + _MEASURE_SECONDS
        cursor = await connection.execute(_QUERIES["list_active_tenants"])
        tenants: list[str] = [tenant_id for (tenant_id,) in await cursor.fetchall()]
        cursor = await connection.execute(_QUERIES["list_oldest_queued"])
        oldest = await cursor.fetchall()
        return [
            *self._open_work(tenants, await read_backlog(connection)),
            *(Sample(names.OLDEST_QUEUED, at.timestamp(), (tenant,)) for tenant, at in oldest),
            *await self._sessions(connection),
        ]

    def _open_work(self, tenants: Sequence[str], rows: Sequence[BacklogRow]) -> list[Sample]:
        images = Counter[tuple[str, str]]()
        for row in rows:
            images[row.tenant_id, "QUEUED"] += row.queued_count
            images[row.tenant_id, "RUNNING"] += row.running_count
        seconds = self._estimate.seconds_by_tenant(rows)
        all_tenants = sorted({*tenants, *seconds})
        return [
            *(
                Sample(names.IMAGES, images[tenant, state], (tenant, state))
                for tenant in all_tenants
                for state in ("QUEUED", "RUNNING")
            ),
            *(
                Sample(names.BACKLOG, sum(seconds.get(tenant, {}).values()), (tenant,))
                for tenant in all_tenants
            ),
        ]

    async def _sessions(self, connection: Connection) -> list[Sample]:
        cursor = await connection.execute(
            _QUERIES["count_sessions"], {"silence_seconds": self._silence_seconds}
        )
        found = dict.fromkeys(_SESSION_STATES, 0) | dict(await cursor.fetchall())
        return counted(names.SESSIONS, found)


def fleet_exposition(
    *, database: DatabaseLook, tally: FleetTally, fleet: Fleet | None
) -> Exposition:
    """Join what the database says with what the fleet knows; None: it only counts."""
    exposition = Exposition("fleet")
    exposition.add("database", database.samples)
    if fleet is not None:
        exposition.add("turn", lambda: _active(tally.turn))
        exposition.add("deaths", lambda: _deaths(fleet, tally.turn))
    return exposition


def _deaths(fleet: Fleet, turn: Turn | None) -> list[Sample]:
    known = {gpu.gpu_id: 0 for gpu in turn.gpus} if turn is not None else {}
    return [
        *counted(names.WORKER_DEATHS, {**known, **fleet.worker_deaths}),
        Sample(names.BROKER_DEATHS, fleet.broker_death_count),
    ]


def _active(turn: Turn | None) -> list[Sample]:
    """Tell what the last turn ended with; of a fleet that waits for the lock nothing is known."""
    if turn is None:
        return [Sample(names.ACTIVE, 0)]
    kinds = Counter(dict.fromkeys(GpuKind, 0))
    kinds.update(gpu.kind for gpu in turn.gpus)
    states = Counter(dict.fromkeys(WorkerState, 0))
    states.update(worker.state for worker in turn.workers)
    return [
        Sample(names.ACTIVE, 1),
        Sample(names.LAST_TURN, turn.time_seconds),
        Sample(names.METER_UP, 1 if turn.meter_answers else 0),
        Sample(names.TENANTS_WAITING, len(turn.waiting_tenants)),
        Sample(names.TENANTS_RESTRAINED, len(turn.restrained_tenants)),
        *counted(names.GPUS, kinds),
        *counted(names.WORKERS, states),
        *counted(names.PACE, turn.paces),
    ]


@asynccontextmanager
async def serving_fleet_metrics(
    settings: Settings, *, fleet: Fleet | None, tally: FleetTally
) -> AsyncGenerator[None]:
    """Answer scrapes while this is open, if that is wished.

    Raises:
        OSError: the address is taken, or not this host's.
    """
    if settings.metrics_listen_address is None:
        yield
        return
    seconds = settings.picture_seconds_before_measured
    work = OpenWorkLook(
        BacklogEstimate(picture_seconds_before_measured=seconds),
        silence_seconds=settings.silence_seconds,
    )
    database = DatabaseLook(work.read)
    exposition = fleet_exposition(database=database, tally=tally, fleet=fleet)
    looking = asyncio.create_task(_look(settings.database_url.get_secret_value(), database))
    try:
        with serving_metrics(exposition, settings.metrics_listen_address):
            yield
    finally:
        looking.cancel()
        await asyncio.wait({looking})


async def _look(url: str, database: DatabaseLook) -> None:
    """Look through a connection of its own: the fleet's only one is in use for its turns."""
    while True:
        try:
            async with open_pool(url, size_max=1, application_name="fleet-metrics") as pool:
                await database.look_again_and_again(pool)
        except UNREACHABLE_ERRORS:
            await asyncio.sleep(_RECONNECT_SECONDS)
