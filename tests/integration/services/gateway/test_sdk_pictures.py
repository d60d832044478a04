"""The SDK against a gateway on a real socket: one picture on a stream, several through a job."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

import atelier
from atelier.errors import FieldViolationError
from atelier.pictures import ImagesFailedError
from atelier.v1.image_pb2 import ImageSpec, ImageState
from tenants.ids import TenantId
from tests.integration.fixture_types import Pools
from tests.integration.services.gateway.drawing import Drawer, recorder_for_gateways
from tests.integration.services.gateway.gateway_fixtures import ServedGateway, Studio

pytestmark = pytest.mark.integration

SPEC = ImageSpec(prompt="a red bicycle", seed=7)
PICTURE = b"a picture of a bicycle"


@pytest.fixture
async def drawer(
    gateway: ServedGateway, acme: Studio, pools: Pools, short_directory: Path
) -> AsyncGenerator[Drawer]:
    async with (
        pools("atelier_recorder") as pool,
        recorder_for_gateways(pool, short_directory) as spool,
    ):
        yield Drawer(pool=pool, tenant_id=TenantId(acme.tenant_id), spool=spool)


@pytest.fixture
async def client(gateway: ServedGateway, acme: Studio) -> AsyncGenerator[atelier.AsyncClient]:
    async with atelier.AsyncClient(gateway.address, api_key=acme.member.key) as client:
        yield client


async def test_a_picture_comes_on_one_stream(client: atelier.AsyncClient, drawer: Drawer) -> None:
    stream = client.stream_image(SPEC)
    first = await anext(stream)
    await drawer.succeed(await drawer.claim(), PICTURE)

    rest = [news async for news in stream]

    assert first.image.state == ImageState.IMAGE_STATE_QUEUED
    (file,) = [news.file for news in rest if news.HasField("file")]
    assert b"".join(news.chunk for news in rest) == PICTURE
    assert file.sha256 == hashlib.sha256(PICTURE).hexdigest()


async def test_the_same_request_id_attaches_again(
    client: atelier.AsyncClient, drawer: Drawer
) -> None:
    request_id = "0b4f5a52-3a3f-4f0e-9d9e-1a2b3c4d5e6f"
    left = client.stream_image(SPEC, request_id=request_id)
    name = (await anext(left)).image.name
    await left.aclose()
    await drawer.succeed(await drawer.claim(), PICTURE)

    news = [one async for one in client.stream_image(SPEC, request_id=request_id)]

    assert news[0].image.name == name
    assert news[-1].chunk == PICTURE
    # What was missed is told again from the start, even of an image that has ended meanwhile.
    assert [one.image.state for one in news if one.HasField("image")] == [
        ImageState.IMAGE_STATE_QUEUED,
        ImageState.IMAGE_STATE_RUNNING,
        ImageState.IMAGE_STATE_SUCCEEDED,
    ]
    assert not news[0].image.HasField("start_time")


async def test_generate_returns_pictures_whose_hashes_were_checked(
    client: atelier.AsyncClient, drawer: Drawer
) -> None:
    generating = asyncio.ensure_future(client.generate(SPEC, count=2))
    await asyncio.sleep(0.3)
    for _ in range(2):
        await drawer.succeed(await drawer.claim(), PICTURE)

    pictures = await asyncio.wait_for(generating, timeout=5)

    assert [(picture.data, picture.seed) for picture in pictures] == [(PICTURE, 7), (PICTURE, 8)]


async def test_generate_tells_what_failed(client: atelier.AsyncClient, drawer: Drawer) -> None:
    generating = asyncio.ensure_future(client.generate(SPEC))
    await asyncio.sleep(0.3)
    await drawer.fail((await drawer.claim()).attempt)

    with pytest.raises(ImagesFailedError, match="OUT_OF_MEMORY"):
        await asyncio.wait_for(generating, timeout=5)


async def test_what_is_refused_is_an_exception_with_its_reason(
    client: atelier.AsyncClient,
) -> None:
    with pytest.raises(FieldViolationError) as refused:
        await anext(client.stream_image(ImageSpec(prompt="a mug", width=100)))

    assert [one.subject for one in refused.value.violations] == ["spec.width"]
