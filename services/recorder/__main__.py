"""The recorder's process: `python -m services.recorder`, ended with SIGTERM."""

import asyncio
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog
from pydantic import ValidationError

from database.pool import Pool, open_pool
from database.secrets_directory import secrets_directory
from database.wakeups import Wakeups
from services.internal.v1 import recorder_pb2_grpc
from services.liveness.event_loop import run_watched
from services.log import configure_log
from services.metrics.database_looks import DatabaseLook, only_ask, serving_with_database
from services.object_store import ObjectStoreDoor
from services.recorder.certified_service import CertifiedService
from services.recorder.finishing import Finishing
from services.recorder.gateway_service import PictureService
from services.recorder.meter_service import MeterIntake
from services.recorder.metrics import recorder_exposition
from services.recorder.refusals import Refusals
from services.recorder.settings import Settings
from services.recorder.sockets import ServedSocket
from services.recorder.spool import Spool
from services.recorder.tenant_service import TenantService
from services.recorder.tenant_sockets import TenantSockets
from services.recorder.uploader import Uploader
from services.transport.served_port import ServedPort
from services.transport.tls_files import identity_files
from tenants.ids import TenantId
from tenants.run_directory import RunDirectory

# A chunk of 1 MiB with its frame; a heartbeat with the previews of a batch.
_WORKER_MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
# What a meter could not deliver for a while comes in one message.
_METER_MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
# Over TCP one server takes both: 500 segments of 64 images each stay below it.
_CERTIFIED_MESSAGE_BYTES_MAX: Final = 8 * 1024 * 1024
_CALLS_MAX: Final = 256

log = structlog.get_logger()


def main() -> None:
    """Run until SIGTERM or SIGINT; exit with 0 then."""
    configure_log("recorder")
    try:
        settings = Settings(_secrets_dir=secrets_directory())  # pyright: ignore[reportCallIssue]
    except ValidationError as error:
        sys.exit(f"atelier-recorder: {error}")
    run_watched(_run(settings))


async def _run(settings: Settings) -> None:
    stopping = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stopping.set)
    wakeups = Wakeups(settings.database_url.get_secret_value(), channel="atelier_workers")
    async with (
        _pools(settings) as (pool, intake_pool),
        wakeups.listening(),
        AsyncExitStack() as stack,
    ):
        store = ObjectStoreDoor(settings.objects_url)
        await store.look()
        recorder = _join(settings, pool, wakeups, store)
        await recorder.uploader.sweep()
        metrics = _serving_metrics(settings, recorder, pools=(pool, intake_pool))
        await stack.enter_async_context(metrics)
        intake = MeterIntake(intake_pool)
        for door in (
            *_fixed_sockets(settings, recorder, intake),
            *_ports(settings, recorder, intake),
        ):
            await door.open()
            stack.push_async_callback(door.close)
        stack.push_async_callback(recorder.tenant_sockets.close)
        log.info("serving", run_directory=str(settings.run_directory))
        await _until_stopped_or_failed(
            stopping,
            recorder.uploader.run(),
            recorder.tenant_sockets.watch(),
            recorder.refusals.run(),
        )
        await recorder.refusals.write()
    log.info("ended")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recorder:
    pool: Pool
    spool: Spool
    finishing: Finishing
    store: ObjectStoreDoor
    uploader: Uploader
    refusals: Refusals
    tenant_sockets: TenantSockets
    service_of: Callable[[TenantId], TenantService]
    pictures: PictureService


@asynccontextmanager
async def _pools(settings: Settings) -> AsyncGenerator[tuple[Pool, Pool]]:
    async with (
        open_pool(
            settings.database_url.get_secret_value(),
            size_max=settings.database_connections_max,
            application_name="recorder",
        ) as pool,
        open_pool(
            settings.meter_intake_database_url.get_secret_value(),
            size_max=2,
            application_name="recorder-meter-intake",
        ) as intake_pool,
    ):
        yield pool, intake_pool


def _join(settings: Settings, pool: Pool, wakeups: Wakeups, store: ObjectStoreDoor) -> _Recorder:
    settings.spool_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    spool = Spool(settings.spool_directory)
    refusals = Refusals(pool)
    picture_arrived = asyncio.Event()
    finishing = Finishing(
        pool=pool,
        spool=spool,
        refusals=refusals,
        energy_wait_seconds=settings.energy_wait_seconds,
        picture_bytes_max=settings.picture_bytes_max,
        picture_pixels_max=settings.picture_pixels_max,
        picture_arrived=picture_arrived,
    )
    run = RunDirectory(settings.run_directory)

    def service_of(tenant_id: TenantId) -> TenantService:
        return TenantService(
            tenant_id=tenant_id,
            pool=pool,
            finishing=finishing,
            wakeups=wakeups,
            refusals=refusals,
            lease_seconds=settings.lease_seconds,
            unheld_seconds=settings.unheld_seconds,
        )

    def socket_of(tenant_id: TenantId) -> ServedSocket:
        return ServedSocket(
            service_of(tenant_id),
            run.recorder_socket(tenant_id),
            message_bytes_max=_WORKER_MESSAGE_BYTES_MAX,
            calls_max=_CALLS_MAX,
        )

    return _Recorder(
        pool=pool,
        spool=spool,
        finishing=finishing,
        store=store,
        uploader=Uploader(
            pool=pool,
            spool=spool,
            store=store,
            picture_arrived=picture_arrived,
        ),
        refusals=refusals,
        tenant_sockets=TenantSockets(run, socket_of),
        service_of=service_of,
        pictures=PictureService(pool=pool, spool=spool, store=store),
    )


def _serving_metrics(
    settings: Settings, recorder: _Recorder, *, pools: tuple[Pool, ...]
) -> AbstractAsyncContextManager[None]:
    database = DatabaseLook(only_ask)
    exposition = recorder_exposition(
        finishing=recorder.finishing,
        refusals=recorder.refusals,
        uploader=recorder.uploader,
        database=database,
        pools=pools,
    )
    address = settings.metrics_listen_address
    return serving_with_database(exposition, address, look=database, pool=recorder.pool)


def _fixed_sockets(
    settings: Settings, recorder: _Recorder, intake: MeterIntake
) -> list[ServedSocket]:
    """Make the sockets that are there once for the host: the meter's and the gateway's."""
    run = RunDirectory(settings.run_directory)
    return [
        ServedSocket(
            servicer, path, message_bytes_max=_METER_MESSAGE_BYTES_MAX, calls_max=_CALLS_MAX
        )
        for servicer, path in (
            (intake, run.recorder_meter_socket),
            (recorder.pictures, run.recorder_gateway_socket),
        )
    ]


def _ports(settings: Settings, recorder: _Recorder, intake: MeterIntake) -> list[ServedPort]:
    """Make the door for other hosts; none unless it is wished."""
    if settings.listen_address is None:
        return []
    assert settings.identity_directory is not None, "the settings have been checked"
    service = CertifiedService(
        service_of=recorder.service_of,
        intake=intake,
        pictures=recorder.pictures,
        calls_per_tenant_max=_CALLS_MAX,
    )
    port = ServedPort(
        lambda server: recorder_pb2_grpc.add_RecorderServiceServicer_to_server(service, server),
        settings.listen_address,
        identity_files(settings.identity_directory),
        message_bytes_max=_CERTIFIED_MESSAGE_BYTES_MAX,
    )
    return [port]


async def _until_stopped_or_failed(
    stopping: asyncio.Event, *duties: Coroutine[object, object, None]
) -> None:
    """Wait for the signal; a duty only ends by an error, which takes the process with it."""
    tasks = [asyncio.create_task(duty) for duty in duties]
    wish = asyncio.create_task(stopping.wait())
    await asyncio.wait([wish, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in (wish, *tasks):
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            raise result


if __name__ == "__main__":
    main()
