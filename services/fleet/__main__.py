"""The fleet's process: `python -m services.fleet`, `atelier-fleet`.

One is active at a time; others wait for the lock and take over what runs.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from pydantic import ValidationError

from database.duty_lock import try_lock_duty
from database.pool import UNREACHABLE_ERRORS, Connection, open_pool
from database.secrets_directory import secrets_directory
from services.fleet.allocation import Allocation
from services.fleet.backlog import BacklogEstimate
from services.fleet.brokers import Brokers
from services.fleet.cold_starts import ColdStarts
from services.fleet.departures import Departures
from services.fleet.fleet import Fleet
from services.fleet.fleet_tally import FleetTally
from services.fleet.launchers import make_launcher
from services.fleet.metrics import serving_fleet_metrics
from services.fleet.node_watch import watch_nodes
from services.fleet.scaler import serving_scaler
from services.fleet.settings import Settings
from services.fleet.watch import Watch, sleep
from services.fleet.workers import WorkerModel, Workers
from services.jobs.errors import CatalogueError
from services.jobs.model_catalogue import RANDOM_CHECKPOINT, load_catalogue
from services.liveness.event_loop import run_watched
from services.log import configure_log
from tenants.launchers.errors import LauncherUnavailableError
from tenants.launchers.process_launcher import ProcessLauncher
from tenants.run_directory import RunDirectory
from tenants.tenant_directories import TenantDirectories

log = structlog.get_logger()

# Says loudly that it keeps nothing apart.
UNISOLATED: Final = ProcessLauncher.name
_RECONNECT_SECONDS = 1.0


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    configure_log("fleet")
    try:
        settings = Settings(_secrets_dir=secrets_directory())  # pyright: ignore[reportCallIssue]
        fleet = _join(settings) if settings.assigns else None
    except (ValidationError, CatalogueError, LauncherUnavailableError) as error:
        sys.exit(str(error))
    run_watched(_run(settings, fleet))


async def _run(settings: Settings, fleet: Fleet | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tally = FleetTally()
    async with (
        serving_fleet_metrics(settings, fleet=fleet, tally=tally),
        serving_scaler(settings),
    ):
        if fleet is not None:
            await _assign(settings, fleet, tally, stop)
        elif settings.meter_addresses:
            await _while_active(settings, stop, lambda one: watch_nodes(settings, one, stop))
        await stop.wait()
    log.info("fleet_ended")


async def _assign(settings: Settings, fleet: Fleet, tally: FleetTally, stop: asyncio.Event) -> None:
    async def act(connection: Connection) -> None:
        fleet.adopt()
        try:
            await Watch(settings, fleet, connection, tally).run(stop)
        finally:
            # Whoever holds the lock next tells what is; this one's knowledge grows old.
            tally.turn = None

    try:
        await _while_active(settings, stop, act)
    finally:
        if settings.end_children_at_exit:
            fleet.end_all()


def _join(settings: Settings) -> Fleet:
    run = RunDirectory(settings.run_directory)
    models = _worker_models(settings)
    launcher = make_launcher(settings)
    launcher.check()
    directories = TenantDirectories(run, first_group=launcher.first_group)
    tell = log.warning if launcher.name == UNISOLATED else log.info
    tell("launcher", launcher=launcher.name, isolation=launcher.isolation)
    settings.log_directory.mkdir(parents=True, exist_ok=True)
    cold_starts = ColdStarts(seconds_before_measured=settings.cold_start_seconds_before_measured)
    return Fleet(
        run=run,
        brokers=Brokers(
            run=run,
            directories=directories,
            data_directory=settings.broker_data_directory,
            log_directory=settings.log_directory,
        ),
        workers=Workers(
            run=run,
            launcher=launcher,
            directories=directories,
            models=models,
            drain_seconds=settings.drain_seconds,
            end_seconds=settings.end_seconds or settings.drain_seconds,
            log_directory=settings.log_directory,
        ),
        departures=Departures(
            run=run,
            broker_data_directory=settings.broker_data_directory,
            log_directory=settings.log_directory,
        ),
        allocation=Allocation(settings.rules, cold_starts),
        backlog=BacklogEstimate(
            picture_seconds_before_measured=settings.picture_seconds_before_measured
        ),
        models=models,
        cores=len(os.sched_getaffinity(0)),
        threads_per_worker=settings.threads_per_worker,
    )


def _worker_models(settings: Settings) -> dict[str, WorkerModel]:
    return {
        name: WorkerModel(
            path=_model_path(model.source, settings),
            batch_slots=model.batch_slots,
            interactive_slots=model.interactive_slots,
        )
        for name, model in load_catalogue(settings.model_catalogue_path).items()
    }


def _model_path(source: str, settings: Settings) -> str:
    """Return a folder's full path; what is no folder beside the catalogue is a hub's name."""
    if source == RANDOM_CHECKPOINT and settings.random_checkpoint_path is not None:
        return str(settings.random_checkpoint_path)
    beside = settings.model_catalogue_path.resolve().parent / source
    return str(beside) if beside.is_dir() else source


async def _while_active(
    settings: Settings, stop: asyncio.Event, act: Callable[[Connection], Awaitable[None]]
) -> None:
    """Act while this process holds the lock; without PostgreSQL there is no lock and no acting."""
    while not stop.is_set():
        try:
            async with (
                open_pool(
                    settings.database_url.get_secret_value(), size_max=1, application_name="fleet"
                ) as pool,
                pool.connection() as connection,
            ):
                while not stop.is_set() and not await try_lock_duty(connection, "fleet"):
                    await sleep(settings.tick_seconds, stop)
                if not stop.is_set():
                    await act(connection)
        except UNREACHABLE_ERRORS as error:
            log.warning("database_lost", reason=str(error))
            await sleep(_RECONNECT_SECONDS, stop)


if __name__ == "__main__":
    main()
