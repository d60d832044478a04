"""What passes the edge unchanged: calls, streams, pictures, refusals, health, cancelling."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from atelier.async_client import AsyncClient
from atelier.errors import (
    FieldViolationError,
    KeyInvalidError,
    RateLimitedError,
    ResourceNotFoundError,
    UnavailableError,
)
from atelier.v1.billing_service_pb2 import GetBalanceRequest
from atelier.v1.billing_service_pb2_grpc import BillingServiceStub
from atelier.v1.image_pb2 import ImageSpec
from atelier.v1.job_service_pb2 import JobState
from services.gateway.identity.token_reading import TOKEN_LENGTH_MAX
from tests.integration.edge.running_edge import (
    NO_KNOBS,
    Edge,
    Studio,
    haproxy,
    make_certificates,
    running_edge,
)
from tests.integration.fixture_types import Pools, Postgres
from tests.integration.services.gateway.drawing import Drawer, recorder_for_gateways

pytestmark = [pytest.mark.integration, pytest.mark.edge]

SPEC = ImageSpec(prompt="a red bicycle", seed=7)
# Several windows of HTTP/2 and messages of gRPC.
PICTURE = bytes(range(256)) * 20_000


@pytest.fixture
async def studio(edge: Edge) -> Studio:
    return await edge.new_studio()


@pytest.fixture
async def client(edge: Edge, studio: Studio) -> AsyncGenerator[AsyncClient]:
    async with edge.client(studio.key) as client:
        yield client


async def test_a_job_is_ordered_watched_and_its_large_picture_fetched(
    client: AsyncClient, studio: Studio, pools: Pools, short_directory: Path
) -> None:
    async with (
        pools("atelier_recorder") as pool,
        recorder_for_gateways(pool, short_directory) as spool,
    ):
        drawer = Drawer(pool=pool, tenant_id=studio.tenant_id, spool=spool)
        job = await client.create_job([SPEC])
        watch = asyncio.create_task(client.wait_for_job(job.name))
        await drawer.succeed(await drawer.claim(), PICTURE)
        finished = await watch
        (image,) = [image async for image in client.list_images(job.name)]
        picture = await client.download_image(image.name)

    assert finished.state == JobState.JOB_STATE_SUCCEEDED
    assert hashlib.sha256(picture).digest() == hashlib.sha256(PICTURE).digest()


async def test_a_large_request_passes(client: AsyncClient) -> None:
    specs = [ImageSpec(prompt="bicycle " * 120, seed=number) for number in range(1_000)]

    job = await client.quote_job(specs)

    assert job.image_count == 1_000


async def test_a_refusal_keeps_its_code_reason_and_details(client: AsyncClient) -> None:
    with pytest.raises(ResourceNotFoundError) as missing:
        await client.get_job("nothinghere")
    with pytest.raises(FieldViolationError) as violation:
        await client.order_job([ImageSpec(prompt="a", width=7)])

    assert missing.value.status.metadata["name"].endswith("/jobs/nothinghere")
    assert {one.subject for one in violation.value.violations} == {"job.specs[0].image.width"}


async def test_leaving_a_stream_ends_it_at_the_gateway(
    postgres: Postgres, short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(short_directory))
    async with running_edge(postgres, short_directory, streams_per_tenant_max=1) as edge:
        studio = await edge.new_studio()
        async with edge.client(studio.key) as client:
            job = await client.create_job([SPEC])
            left = client.watch_job(job.name)
            await anext(left)
            with pytest.raises(RateLimitedError):
                await anext(client.watch_job(job.name))
            await left.aclose()
            # The tenant's only place is free again as soon as the gateway has heard of it.
            async with asyncio.timeout(60):
                while not await watches(client, job.name):
                    await asyncio.sleep(0.05)


async def watches(client: AsyncClient, job: str) -> bool:
    watch = client.watch_job(job)
    try:
        await anext(watch)
    except RateLimitedError:
        return False
    finally:
        await watch.aclose()
    return True


async def test_the_gateway_hears_the_callers_address_from_the_edge_alone(edge: Edge) -> None:
    own = await edge.new_studio(networks=["127.0.0.1/32"])
    others = await edge.new_studio(networks=["203.0.113.0/24"])
    answers: dict[str, str] = {}
    async with edge.channel() as channel:
        for name, key in (("own", own.key), ("another's", others.key)):
            call = BillingServiceStub(channel).GetBalance(
                GetBalanceRequest(name="tenants/-/balance"),
                metadata=(
                    ("authorization", f"Bearer {key}"),
                    ("x-forwarded-for", "203.0.113.9"),
                ),
                timeout=30,
            )
            answers[name] = (await call.code()).name

    assert answers == {"own": "OK", "another's": "PERMISSION_DENIED"}


async def test_the_longest_token_of_an_identity_provider_comes_to_the_gateway(edge: Edge) -> None:
    async with edge.client("eyJ" + "x" * (TOKEN_LENGTH_MAX - 3)) as client:
        with pytest.raises(KeyInvalidError):
            await client.get_tenant()


async def test_health_checks_pass(edge: Edge) -> None:
    async with edge.channel() as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=30)

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_without_a_gateway_the_edge_answers_unavailable(
    short_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(short_directory))
    certificates = make_certificates(short_directory)
    with haproxy(certificates, short_directory, gateway_port=1, knobs=NO_KNOBS) as running:
        edge = Edge(
            port=running.port,
            metrics_port=running.metrics_port,
            certificates=certificates,
            operator_key="none",
        )
        async with edge.client("atl_live_none") as client:
            with pytest.raises(UnavailableError, match="no gateway serves just now"):
                await client.get_balance()
