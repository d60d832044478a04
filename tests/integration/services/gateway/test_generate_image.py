"""One picture while somebody waits: on one stream, once, and let go when nobody listens."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from uuid import uuid4

import pytest

from atelier.v1 import image_pb2, image_service_pb2, job_service_pb2, money_pb2
from services.housekeeper.unattended_jobs import UnattendedJobs
from tenants.ids import TenantId
from tests.integration.fixture_types import Pools, Postgres
from tests.integration.services.gateway.drawing import Drawer, recorder_for_gateways
from tests.integration.services.gateway.gateway_fixtures import (
    ServedGateway,
    Studio,
    image_spec,
    read_all,
    read_one,
    refusal,
    running_gateway,
)

pytestmark = pytest.mark.integration

UNATTENDED_SECONDS = 0.5


@pytest.fixture
async def gateway(postgres: Postgres, short_directory: Path) -> AsyncGenerator[ServedGateway]:
    async with running_gateway(postgres, short_directory, attendance_seconds=0.1) as running:
        yield running


@pytest.fixture
async def housekeeper(pools: Pools) -> AsyncGenerator[UnattendedJobs]:
    async with pools("atelier_housekeeper") as pool:
        yield UnattendedJobs(pool, unattended_seconds=UNATTENDED_SECONDS)


@pytest.fixture
async def drawer(
    gateway: ServedGateway, acme: Studio, pools: Pools, short_directory: Path
) -> AsyncGenerator[Drawer]:
    async with (
        pools("atelier_recorder") as pool,
        recorder_for_gateways(pool, short_directory) as spool,
    ):
        yield Drawer(pool=pool, tenant_id=TenantId(acme.tenant_id), spool=spool)


def generate(**changes: object) -> image_service_pb2.GenerateImageRequest:
    return image_service_pb2.GenerateImageRequest(
        parent="tenants/-", spec=image_spec(**changes), request_id=str(uuid4())
    )


async def state_of_the_job(gateway: ServedGateway, studio: Studio) -> str:
    ((state,),) = await gateway.rows(
        "SELECT state FROM jobs WHERE tenant_id = %(tenant)s", tenant=studio.tenant_id
    )
    return str(state)


async def test_the_picture_comes_on_the_stream_it_was_asked_for(
    acme: Studio, drawer: Drawer
) -> None:
    stream = acme.member.images.GenerateImage(generate(seed=7))
    reading = asyncio.ensure_future(read_all(stream))
    await asyncio.sleep(0.3)
    await drawer.succeed(await drawer.claim(), b"a picture")

    news = await asyncio.wait_for(reading, timeout=5)

    assert [item.image.state for item in news if item.HasField("image")] == [
        image_pb2.IMAGE_STATE_QUEUED,
        image_pb2.IMAGE_STATE_RUNNING,
        image_pb2.IMAGE_STATE_SUCCEEDED,
    ]
    assert news[0].image.tier == image_pb2.TIER_INTERACTIVE
    assert news[-2].file.byte_count == len(b"a picture")
    assert b"".join(item.chunk for item in news) == b"a picture"
    assert news[-3].image.receipt.seed == 7


async def test_the_same_request_attaches_to_the_same_image(
    gateway: ServedGateway, acme: Studio, drawer: Drawer
) -> None:
    request = generate()
    first = acme.member.images.GenerateImage(request)
    name = (await read_one(first)).image.name
    first.cancel()

    second = acme.member.images.GenerateImage(request)
    again = (await read_one(second)).image.name
    reading = asyncio.ensure_future(read_all(second))
    await asyncio.sleep(0.6)
    await drawer.succeed(await drawer.claim(), b"a picture")
    rest = await asyncio.wait_for(reading, timeout=5)

    assert again == name
    assert rest[-1].chunk == b"a picture"
    assert await state_of_the_job(gateway, acme) == "SUCCEEDED"


async def test_a_drawing_that_nobody_listens_to_is_cancelled(
    gateway: ServedGateway, acme: Studio, pools: Pools
) -> None:
    async with pools("atelier_housekeeper") as pool:
        duty = UnattendedJobs(pool, unattended_seconds=0.6)
        stream = acme.member.images.GenerateImage(generate())
        await read_one(stream)

        await asyncio.sleep(0.9)
        await duty.sweep()
        while_listened_to = await state_of_the_job(gateway, acme)
        stream.cancel()
        await asyncio.sleep(0.9)
        await duty.sweep()

    assert while_listened_to == "QUEUED"
    assert await state_of_the_job(gateway, acme) == "CANCELLED"


async def test_a_failed_drawing_tells_why_and_has_no_picture(acme: Studio, drawer: Drawer) -> None:
    reading = asyncio.ensure_future(read_all(acme.member.images.GenerateImage(generate())))
    await asyncio.sleep(0.3)
    await drawer.fail((await drawer.claim()).attempt)

    news = await asyncio.wait_for(reading, timeout=5)

    assert news[-1].image.state == image_pb2.IMAGE_STATE_FAILED
    assert news[-1].image.failure.reason == "OUT_OF_MEMORY"


async def test_bad_wishes_are_refused_with_the_fields_of_this_request(acme: Studio) -> None:
    bad_size = await refusal(read_all(acme.member.images.GenerateImage(generate(width=100))))
    too_large = await refusal(read_all(acme.member.images.GenerateImage(generate(height=1024))))
    dear = generate()
    dear.max_cost.CopyFrom(money_pb2.Money(currency_code="USD", nanos=1))
    too_dear = await refusal(read_all(acme.member.images.GenerateImage(dear)))

    assert (bad_size.reason, bad_size.fields) == ("FIELD_VIOLATION", ["spec.width"])
    assert (too_large.reason, too_large.fields) == ("FIELD_VIOLATION", ["spec.height"])
    assert (too_dear.code, too_dear.reason) == ("FAILED_PRECONDITION", "MAX_COST_EXCEEDED")


async def test_an_interactive_image_is_drawn_before_a_job_that_waits(
    acme: Studio, drawer: Drawer
) -> None:
    await acme.member.jobs.CreateJob(
        job_service_pb2.CreateJobRequest(
            parent="tenants/-",
            job=job_service_pb2.Job(
                specs=[job_service_pb2.JobSpec(image=image_spec(), count=1000)]
            ),
            request_id=str(uuid4()),
        )
    )
    stream = acme.member.images.GenerateImage(generate())
    name = (await read_one(stream)).image.name

    claimed = await drawer.claim()
    stream.cancel()

    assert name.endswith(claimed.attempt.image_id)
