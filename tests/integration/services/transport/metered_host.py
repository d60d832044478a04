"""A meter of two cards that listens on TCP; the cards' counters run at 100 W without cards."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns

from metering.cpu_energy import AttachedProcesses
from metering.energy import Reading
from metering.energy_counter import CounterFacts
from metering.energy_source import EnergySource
from metering.gpu_sensors import GpuSensors
from metering.power import PowerModel
from services.internal.v1 import meter_pb2_grpc
from services.meter.certified_service import CertifiedService
from services.meter.device_service import DeviceService
from services.meter.devices import Device
from services.meter.metered_gpu import MeteredGpu
from services.meter.recorder_client import RecorderClient
from services.transport.callees import Callee
from services.transport.hosts import read_boot_id
from services.transport.identities import ProcessRole
from services.transport.served_port import ServedPort
from services.transport.tls_files import identity_files
from tenants.ids import GpuId
from tests.integration.certificates import write_identity
from tests.integration.services.transport.conftest import Place, system_uri

NANOS_PER_MILLIJOULE = 10_000_000


class SteadyCounter:
    """Counts 100 W."""

    facts = CounterFacts(
        source=EnergySource.NVML_COUNTER,
        display_name="NVIDIA H200",
        refresh_nanos=100_000_000,
        counts_alone=True,
    )

    def read(self, now_nanos: int) -> int:
        return now_nanos // NANOS_PER_MILLIJOULE


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredHost:
    """Where the meter listens."""

    place: Place
    port: int

    def caller(self, uri: str) -> Callee:
        """The meter as somebody with a certificate of this name reaches it."""
        directory = write_identity(
            Path(tempfile.mkdtemp(dir=self.place.directory)), self.place.authority, uri
        )
        return Callee(target=f"localhost:{self.port}", tls=identity_files(directory))


@asynccontextmanager
async def metered_host(
    place: Place, *gpu_ids: GpuId, sensors: GpuSensors | None = None
) -> AsyncGenerator[MeteredHost]:
    """Serve, read the counters and deliver to the recorder for as long as the block lasts."""
    recorder = await place.caller(system_uri(ProcessRole.METER))
    async with RecorderClient(recorder) as store, AsyncExitStack() as stack:
        gpus = {gpu_id: MeteredGpu(_device(gpu_id, sensors), store) for gpu_id in gpu_ids}
        await asyncio.gather(*(gpu.start() for gpu in gpus.values()))
        duties = [asyncio.create_task(_read(gpus))]
        duties += [asyncio.create_task(gpu.deliver()) for gpu in gpus.values()]
        stack.push_async_callback(_end, duties)
        port = _port(place, gpus)
        number = await port.open()
        stack.push_async_callback(port.close)
        yield MeteredHost(place=place, port=number)


def _port(place: Place, gpus: Mapping[GpuId, MeteredGpu]) -> ServedPort:
    service = CertifiedService(
        gpus=gpus,
        devices=DeviceService({gpu_id: gpu.device for gpu_id, gpu in gpus.items()}),
        boot_id=read_boot_id(),
        streams_per_tenant_max=4,
    )
    own = write_identity(place.directory / "meter", place.authority, system_uri(ProcessRole.METER))
    return ServedPort(
        lambda server: meter_pb2_grpc.add_MeterServiceServicer_to_server(service, server),
        "127.0.0.1:0",
        identity_files(own),
        message_bytes_max=1024 * 1024,
    )


async def _read(gpus: Mapping[GpuId, MeteredGpu]) -> None:
    while True:
        await asyncio.sleep(0.05)
        now_nanos = monotonic_ns()
        for gpu in gpus.values():
            gpu.take(Reading(now_nanos, gpu.device.counter.read(now_nanos)))


async def _end(duties: list[asyncio.Task[None]]) -> None:
    for duty in duties:
        duty.cancel()
    await asyncio.wait(duties)


def _device(gpu_id: GpuId, sensors: GpuSensors | None) -> Device:
    return Device(
        gpu_id=gpu_id,
        counter=SteadyCounter(),
        power=PowerModel(
            idle_watts=100.0, free_watts=100.0, load_watts=300.0, joules_per_work_unit=1.0
        ),
        processes=AttachedProcesses(),
        poll_nanos=50_000_000,
        refresh_nanos=0,
        timing_nanos=0.0,
        is_always_there=True,
        sensors=sensors,
    )
