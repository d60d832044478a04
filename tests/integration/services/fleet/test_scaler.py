"""What KEDA hears: real gRPC with certificates, real rows."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

import grpc
import psycopg
import pytest
import trustme
from pydantic import SecretStr

from services.fleet.scaler import serving_scaler
from services.fleet.settings import Settings
from services.internal.keda import externalscaler_pb2 as keda
from services.internal.keda import externalscaler_pb2_grpc as keda_grpc
from services.transport.callees import Callee
from services.transport.channels import open_aio_channel
from services.transport.tls_files import identity_files
from tests.integration.certificates import write_identity
from tests.integration.fixture_types import Postgres

pytestmark = pytest.mark.integration

PATIENCE_SECONDS = 30.0
INSERT = (
    b"INSERT INTO images (tenant_id, job_id, image_id, image_number, state, tier, model, prompt,"
    b" width, height, num_inference_steps, guidance_scale, seed, max_sequence_length,"
    b" output_format, output_quality, hold_nanos, claim_token, end_time)"
    b" SELECT tenant_id, gen_random_uuid()::text, gen_random_uuid()::text, 1, state, 'BATCH',"
    b" model, '', 256, 256, 20, 1, 1, 77, 'PNG', 90, 0,"
    b" CASE state WHEN 'RUNNING' THEN gen_random_uuid() END,"
    b" CASE state WHEN 'SUCCEEDED' THEN now() END"
    b" FROM (VALUES (%s, %s, %s)) AS given (tenant_id, state, model)"
)


class Images:
    """Open images of a tenant, without the job they would be of."""

    def __init__(self, admin: psycopg.Connection, tenant_id: str) -> None:
        self._admin = admin
        self.tenant_id = tenant_id

    def add(self, state: str, count: int, *, model: str = "mini", tenant: str = "") -> None:
        self._admin.cursor().executemany(
            INSERT,
            [(tenant or self.tenant_id, state, model)] * count,
        )

    def delete(self) -> None:
        self._admin.execute(
            b"DELETE FROM images WHERE tenant_id IN (%s, %s)",
            [self.tenant_id, f"{self.tenant_id}-b"],
        )


@pytest.fixture
def images(postgres: Postgres, fresh_tenant_id: str) -> Generator[Images]:
    with psycopg.connect(postgres.admin_url, autocommit=True) as admin:
        admin.execute(b"SET session_replication_role = replica")
        images = Images(admin, fresh_tenant_id)
        yield images
        images.delete()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def port(postgres: Postgres, authority: trustme.CA, tmp_path: Path) -> AsyncGenerator[int]:
    uri = "spiffe://atelier/system/fleet"
    settings = Settings(
        database_url=SecretStr(postgres.url("atelier_fleet")),
        run_directory=tmp_path,
        broker_data_directory=tmp_path,
        log_directory=tmp_path,
        model_catalogue_path=tmp_path,
        assigns=False,
        scaler_listen_address="127.0.0.1:0",
        identity_directory=write_identity(tmp_path / "fleet", authority, uri),
        picture_seconds_before_measured=10.0,
    )
    async with serving_scaler(settings) as port:
        assert port is not None
        yield port


@pytest.fixture
async def scaler(
    port: int, authority: trustme.CA, tmp_path: Path
) -> AsyncGenerator["keda_grpc.ExternalScalerAsyncStub"]:
    async with called_by("spiffe://atelier/system/keda", port, authority, tmp_path) as channel:
        yield stub(channel)


def called_by(
    uri: str, port: int, authority: trustme.CA, directory: Path, trusted: trustme.CA | None = None
) -> grpc.aio.Channel:
    identity = write_identity(directory / "caller", authority, uri, trusted=trusted)
    return open_aio_channel(Callee(target=f"localhost:{port}", tls=identity_files(identity)))


def stub(channel: grpc.aio.Channel) -> "keda_grpc.ExternalScalerAsyncStub":
    return keda_grpc.ExternalScalerStub(channel)


def asked(tenant_id: str, **metadata: str) -> keda.ScaledObjectRef:
    return keda.ScaledObjectRef(
        name="worker",
        namespace=f"atelier-tenant-{tenant_id}",
        scalerMetadata={"tenant": tenant_id, "target": "4", **metadata},
    )


async def amount(
    scaler: "keda_grpc.ExternalScalerAsyncStub", reference: keda.ScaledObjectRef
) -> float:
    answer = await scaler.GetMetrics(keda.GetMetricsRequest(scaledObjectRef=reference))
    (value,) = answer.metricValues
    return value.metricValueFloat


async def test_images_that_wait_and_images_that_are_drawn_count_together(
    scaler: "keda_grpc.ExternalScalerAsyncStub", images: Images
) -> None:
    images.add("QUEUED", 3)
    images.add("RUNNING", 2)
    images.add("SUCCEEDED", 7)

    assert await amount(scaler, asked(images.tenant_id)) == 5


async def test_no_tenant_is_scaled_by_the_work_of_another(
    scaler: "keda_grpc.ExternalScalerAsyncStub", images: Images
) -> None:
    images.add("QUEUED", 9, tenant=f"{images.tenant_id}-b")

    assert await amount(scaler, asked(images.tenant_id)) == 0
    assert await amount(scaler, asked(f"{images.tenant_id}-b")) == 9


async def test_a_model_named_is_counted_alone(
    scaler: "keda_grpc.ExternalScalerAsyncStub", images: Images
) -> None:
    images.add("QUEUED", 2, model="mini")
    images.add("QUEUED", 1, model="large")

    assert await amount(scaler, asked(images.tenant_id, model="large")) == 1


async def test_gpu_seconds_are_what_the_fleet_reckons_with(
    scaler: "keda_grpc.ExternalScalerAsyncStub", images: Images
) -> None:
    # A model that nobody has drawn with: ten seconds a picture, half of it while it is drawn.
    images.add("QUEUED", 3, model="unmeasured")
    images.add("RUNNING", 1, model="unmeasured")

    seconds = await amount(scaler, asked(images.tenant_id, unit="gpu_seconds"))

    assert seconds == pytest.approx(35.0)


async def test_the_last_image_in_flight_keeps_its_worker(
    scaler: "keda_grpc.ExternalScalerAsyncStub", images: Images
) -> None:
    idle = await scaler.IsActive(asked(f"{images.tenant_id}-idle"))
    images.add("RUNNING", 1)

    # The reading before may be a second old.
    async def active() -> bool:
        return (await scaler.IsActive(asked(images.tenant_id))).result

    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await active():
            await asyncio.sleep(0.1)
    assert idle.result is False


async def test_the_stream_tells_at_once_and_then_each_change(
    scaler: "keda_grpc.ExternalScalerAsyncStub", images: Images
) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        answers = aiter(scaler.StreamIsActive(asked(images.tenant_id)))
        first = await anext(answers)
        images.add("QUEUED", 1)
        second = await anext(answers)
        images.delete()
        third = await anext(answers)

    assert [one.result for one in (first, second, third)] == [False, True, False]


async def test_the_target_is_what_the_scaled_object_says(
    scaler: "keda_grpc.ExternalScalerAsyncStub",
) -> None:
    (spec,) = (await scaler.GetMetricSpec(asked("acme", target="2.5"))).metricSpecs

    assert (spec.metricName, spec.targetSizeFloat) == ("atelier_open_work", 2.5)


@pytest.mark.parametrize(
    "metadata",
    [{"tenant": ""}, {"target": "0"}, {"target": "nan"}, {"target": "many"}, {"unit": "tokens"}],
)
async def test_a_question_that_makes_no_sense_is_refused(
    scaler: "keda_grpc.ExternalScalerAsyncStub", metadata: dict[str, str]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await scaler.GetMetricSpec(asked("acme", **metadata))

    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "uri",
    ["spiffe://atelier/tenant/acme/worker", "spiffe://atelier/system/gateway"],
)
async def test_nobody_but_keda_hears_what_a_tenant_has_to_do(
    uri: str, port: int, authority: trustme.CA, tmp_path: Path
) -> None:
    async with called_by(uri, port, authority, tmp_path) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub(channel).IsActive(asked("acme"))

    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_a_certificate_of_another_authority_is_not_spoken_to(
    port: int, authority: trustme.CA, tmp_path: Path
) -> None:
    uri = "spiffe://atelier/system/keda"
    async with called_by(uri, port, trustme.CA(), tmp_path, trusted=authority) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub(channel).IsActive(asked("acme"), timeout=PATIENCE_SECONDS)

    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
