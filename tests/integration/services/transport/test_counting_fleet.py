"""A fleet that assigns nothing, as a process: it counts for KEDA and keeps every card cool."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from secrets import token_hex

import grpc
import psutil
import psycopg
import pytest

from metering.gpu_sensors import CardFacts, SensorSample
from services.internal.keda import externalscaler_pb2 as keda
from services.internal.keda import externalscaler_pb2_grpc as keda_grpc
from services.transport.callees import Callee
from services.transport.channels import open_aio_channel
from services.transport.identities import ProcessRole
from services.transport.tls_files import identity_files
from services.worker.work import Truth
from tenants.ids import GpuId, gpu_id_of
from tests.integration.certificates import write_identity
from tests.integration.fixture_types import Postgres
from tests.integration.installation import Process, Studio, eventually, spec
from tests.integration.services.recorder.session import Session
from tests.integration.services.transport.conftest import Place, system_uri, worker_uri
from tests.integration.services.transport.metered_host import MeteredHost, metered_host

pytestmark = pytest.mark.integration


class Card:
    """A card whose driver says how hot it is."""

    def __init__(self, celsius: float) -> None:
        self.celsius = celsius
        self.facts = CardFacts(
            device_uuid=f"GPU-{token_hex(4)}-{token_hex(2)}-0000-0000-000000000000",
            memory_bytes=1000,
        )

    @property
    def gpu_id(self) -> GpuId:
        return gpu_id_of(self.facts.device_uuid)

    def read(self) -> SensorSample:
        return SensorSample(
            temperature_celsius=self.celsius,
            power_watts=600.0,
            memory_used_bytes=None,
            utilization=None,
            clock_megahertz=None,
            throttle_reasons=(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CountingFleet:
    place: Place
    process: Process

    async def answer(self, tenant_id: str) -> "float | grpc.StatusCode":
        """What KEDA hears of a tenant's open images, or what it is refused with."""
        request = keda.GetMetricsRequest(
            scaledObjectRef=keda.ScaledObjectRef(
                name="worker",
                namespace="any",
                scalerMetadata={"tenant": tenant_id, "target": "1", "unit": "images"},
            )
        )
        identity = write_identity(
            self.place.directory / "keda", self.place.authority, system_uri(ProcessRole.KEDA)
        )
        callee = Callee(target=f"localhost:{await self._port()}", tls=identity_files(identity))
        async with open_aio_channel(callee) as channel:
            scaler: keda_grpc.ExternalScalerAsyncStub = keda_grpc.ExternalScalerStub(channel)
            try:
                answer = await scaler.GetMetrics(request, timeout=30)
            except grpc.aio.AioRpcError as error:
                return error.code()
        return answer.metricValues[0].metricValueFloat

    async def _port(self) -> int:
        async def logged() -> int | None:
            for line in self.process.log().splitlines():
                if '"listening"' in line:
                    return int(json.loads(line)["port"])
            assert self.process.is_running, self.process.log()
            return None

        return await eventually(logged, what="a fleet that listens")


@asynccontextmanager
async def counting_fleet(
    place: Place, postgres: Postgres, *hosts: MeteredHost
) -> AsyncGenerator[CountingFleet]:
    identity = write_identity(
        place.directory / "fleet", place.authority, system_uri(ProcessRole.FLEET)
    )
    settings = {
        "database_url": postgres.url("atelier_fleet"),
        "run_directory": place.directory,
        "broker_data_directory": place.directory / "brokers",
        "log_directory": place.directory / "logs",
        "model_catalogue_path": place.directory / "models.toml",
        "assigns": "false",
        "scaler_listen_address": "127.0.0.1:0",
        "identity_directory": identity,
        "meter_addresses": json.dumps([f"localhost:{host.port}" for host in hosts]),
    }
    process = Process(
        name="fleet",
        environment={f"ATELIER_FLEET_{key.upper()}": str(one) for key, one in settings.items()},
        log_path=place.directory / f"fleet-{token_hex(4)}.log",
    )
    process.start()
    try:
        yield CountingFleet(place=place, process=process)
        assert await asyncio.to_thread(process.stop) == 0, process.log()
    finally:
        process.end()


@contextmanager
def policy(postgres: Postgres, gpu_id: GpuId, *, duty_cycle_max: float) -> Generator[None]:
    """What SetPowerPolicy writes."""
    with psycopg.connect(postgres.admin_url, autocommit=True) as admin:
        admin.execute(
            "INSERT INTO power_policies (gpu_id, temperature_celsius_max, duty_cycle_max)"
            " VALUES (%s, 80, %s)",
            [gpu_id, duty_cycle_max],
        )
        yield
        admin.execute("DELETE FROM power_policies WHERE gpu_id = %s", [gpu_id])


@contextmanager
def database_away(postgres: Postgres) -> Generator[None]:
    """No session of the fleet's lives and none can begin, until the end of the block."""
    with psycopg.connect(postgres.admin_url, autocommit=True) as admin:
        admin.execute("ALTER ROLE atelier_fleet NOLOGIN")
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'atelier_fleet'"
        )
        try:
            yield
        finally:
            admin.execute("ALTER ROLE atelier_fleet LOGIN")


async def test_each_worker_of_two_nodes_hears_the_pace_of_its_own_card(
    place: Place, postgres: Postgres, studios: tuple[Studio, Studio]
) -> None:
    studio, _ = studios
    hot, cool = Card(95.0), Card(40.0)
    recorder = await place.caller(worker_uri(studio.tenant_id))
    async with (
        metered_host(place, hot.gpu_id, sensors=hot) as one,
        metered_host(place, cool.gpu_id, sensors=cool) as another,
        counting_fleet(place, postgres, one, another) as fleet,
    ):
        with (
            closing(Session(recorder, gpu_id=hot.gpu_id)) as at_hot,
            closing(Session(recorder, gpu_id=cool.gpu_id)) as at_cool,
        ):
            await at_hot.heard(paced(0.1))
            await at_cool.heard(paced(0.9))
            with policy(postgres, cool.gpu_id, duty_cycle_max=0.5):
                await at_cool.heard(paced(0.5))
            await eventually(lambda: shown(studio, hot, cool), what="both cards with workers")
            assert psutil.Process(fleet.process.process_id).children() == []


def paced(duty_cycle: float) -> Callable[[Truth], bool]:
    return lambda truth: round(truth.duty_cycle, 2) == duty_cycle


async def shown(studio: Studio, *cards: Card) -> bool | None:
    """Whether ListGpus, WatchGpus and ListWorkers have these cards to tell of."""
    rows = await studio.rows(
        "SELECT gpu_id, temperature_celsius, launcher, workers.tenant_id"
        " FROM gpus JOIN gpu_samples USING (gpu_id) JOIN workers USING (gpu_id)"
        " WHERE in_inventory AND gpu_id = ANY (%s)",
        [card.gpu_id for card in cards],
    )
    expected = {(card.gpu_id, card.celsius, "kubernetes", studio.tenant_id) for card in cards}
    return {(*row.values(),) for row in rows} == expected or None


async def test_while_the_database_is_away_keda_hears_an_error_and_never_zero(
    place: Place, postgres: Postgres, studios: tuple[Studio, Studio]
) -> None:
    studio, _ = studios
    await studio.accept(spec(), spec(), spec())
    async with counting_fleet(place, postgres) as fleet:
        assert await fleet.answer(studio.tenant_id) == 3
        told: set[object] = set()

        async def is_told(answer: object) -> bool | None:
            told.add(now := await fleet.answer(studio.tenant_id))
            return now == answer or None

        with database_away(postgres):
            await eventually(lambda: is_told(grpc.StatusCode.UNAVAILABLE), what="an error")
        await eventually(lambda: is_told(3), what="an answer again")

    # What was read a second ago may still be told; nothing is made up.
    assert told == {3, grpc.StatusCode.UNAVAILABLE}
