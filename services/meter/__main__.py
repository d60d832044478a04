"""The meter's process: `python -m services.meter`, ended with SIGTERM."""

import asyncio
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from typing import Final

import structlog
from pydantic import ValidationError

from metering.energy import Reading
from metering.errors import CalibrationInvalidError, CounterError
from services.internal.v1 import meter_pb2_grpc
from services.liveness.event_loop import run_watched
from services.log import configure_log
from services.meter.certified_service import CertifiedService
from services.meter.counter_reader import CounterReader
from services.meter.device_service import DeviceService, DeviceSocket
from services.meter.devices import find_devices
from services.meter.doors import Doors
from services.meter.metered_gpu import MeteredGpu
from services.meter.metrics import meter_exposition
from services.meter.recorder_client import RecorderClient
from services.meter.settings import Settings
from services.metrics.listener import serving_metrics
from services.transport.hosts import read_boot_id
from services.transport.served_port import ServedPort
from services.transport.tls_files import identity_files
from tenants.ids import GpuId
from tenants.run_directory import RunDirectory

# A device whose directory appears is metered from here on.
_LOOK_SECONDS: Final = 0.25
_MESSAGE_BYTES_MAX: Final = 1024 * 1024
# A worker has one stream, for a moment two, and a host at most 16 cards.
_STREAMS_PER_TENANT_MAX: Final = 64

log = structlog.get_logger()


def main() -> None:
    """Run until SIGTERM or SIGINT; exit with 0 then."""
    configure_log("meter")
    try:
        settings = Settings()  # pyright: ignore[reportCallIssue] - from the environment
    except ValidationError as error:
        sys.exit(f"atelier-meter: {error}")
    try:
        run_watched(_run(settings))
    except (CounterError, CalibrationInvalidError) as error:
        sys.exit(f"atelier-meter: {error}")


async def _run(settings: Settings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    run_directory = RunDirectory(settings.run_directory)
    inner_directory = run_directory.path / "meter"
    inner_directory.mkdir(mode=0o700, exist_ok=True)
    devices = find_devices(settings)
    reader = CounterReader()
    device_service = DeviceService(devices)
    async with (
        RecorderClient(settings.recorder) as recorder,
        DeviceSocket(device_service, run_directory.meter_socket),
        AsyncExitStack() as opened,
    ):
        gpus = {gpu_id: MeteredGpu(device, recorder) for gpu_id, device in devices.items()}
        if (port := _port(settings, gpus, device_service)) is not None:
            await port.open()
            opened.push_async_callback(port.close)
        metrics = meter_exposition(gpus.values())
        opened.enter_context(serving_metrics(metrics, settings.metrics_listen_address))
        doors = Doors(run_directory, gpus, inner_directory)
        reader.start()
        duties = [
            asyncio.create_task(duty)
            for duty in (
                doors.watch(),
                _begin_timelines(gpus, doors, reader),
                *(gpu.deliver() for gpu in gpus.values()),
            )
        ]
        log.info("serving", devices=sorted(gpus), run_directory=str(run_directory.path))
        await _until_stopped_or_failed(stopping, duties)
        await doors.close()
        reader.stop()
        await asyncio.to_thread(reader.join)
        await _flush(gpus, seconds=settings.flush_seconds)
        await _end(duties)
    log.info("ended")


def _port(
    settings: Settings, gpus: Mapping[GpuId, MeteredGpu], devices: DeviceService
) -> ServedPort | None:
    """Make the door for pods; None unless it is wished."""
    if settings.listen_address is None:
        return None
    assert settings.identity_directory is not None, "the settings have been checked"
    service = CertifiedService(
        gpus=gpus,
        devices=devices,
        boot_id=read_boot_id(),
        streams_per_tenant_max=_STREAMS_PER_TENANT_MAX,
    )
    return ServedPort(
        lambda server: meter_pb2_grpc.add_MeterServiceServicer_to_server(service, server),
        settings.listen_address,
        identity_files(settings.identity_directory),
        message_bytes_max=_MESSAGE_BYTES_MAX,
    )


async def _begin_timelines(
    gpus: Mapping[GpuId, MeteredGpu], doors: Doors, reader: CounterReader
) -> None:
    """Start the devices that are always there, and the others when somebody wants them.

    Runs until it is cancelled, like every duty.
    """
    waiting = dict(gpus)
    while True:
        wanted = doors.wanted_gpus()
        due = [
            gpu
            for gpu in waiting.values()
            if gpu.device.is_always_there or gpu.device.gpu_id in wanted
        ]
        for gpu in due:
            await gpu.start()
            _watch(gpu, reader)
            del waiting[gpu.device.gpu_id]
        await asyncio.sleep(_LOOK_SECONDS)


def _watch(gpu: MeteredGpu, reader: CounterReader) -> None:
    """Have a device's readings brought from the reader's thread to the event loop."""
    loop = asyncio.get_running_loop()

    def deliver(reading: Reading) -> None:
        with suppress(RuntimeError):  # The loop has ended.
            loop.call_soon_threadsafe(gpu.take, reading)

    def report(error: CounterError) -> None:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(gpu.report, error)

    reader.watch(gpu.device, is_busy=lambda: gpu.has_worker, deliver=deliver, report=report)


async def _until_stopped_or_failed(
    stopping: asyncio.Event, duties: list[asyncio.Task[None]]
) -> None:
    """Wait for the signal; a duty only ends by an error, which takes the process with it."""
    wish = asyncio.create_task(stopping.wait())
    await asyncio.wait([wish, *duties], return_when=asyncio.FIRST_COMPLETED)
    wish.cancel()


async def _flush(gpus: Mapping[GpuId, MeteredGpu], *, seconds: float) -> None:
    """Close every timeline and offer the rest to the recorder for a while."""
    started = [gpu for gpu in gpus.values() if gpu.is_started]
    for gpu in started:
        await gpu.finish()
    try:
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(gpu.drain() for gpu in started))
    except TimeoutError:
        log.warning("segments_unsent", reason="the recorder did not answer; their time is UNKNOWN")


async def _end(duties: list[asyncio.Task[None]]) -> None:
    for duty in duties:
        duty.cancel()
    results = await asyncio.gather(*duties, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result


if __name__ == "__main__":
    main()
