"""Somebody waits for one picture while a thousand are drawn: the whole service, through the SDK.

What is asserted is the order of claims and ends, on the database's clock; never how long it took.
"""

import asyncio
import hashlib
import json
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing
from pathlib import Path

import pytest

import atelier
from atelier.v1.image_pb2 import Image, ImageSpec, ImageState, Tier
from atelier.v1.job_service_pb2 import Job, JobFilter, JobSpec, JobState
from services.standalone.directories import DataDirectory
from tests.e2e.installations import Up, processes_of
from tests.e2e.studios import address_of, open_studio

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

TENANT = "acme"
BATCH_SLOTS = 2
CATALOGUE = f"""\
[small]
display_name = "Small"
source = "random-checkpoint"
precision = "fp32"
width = {{ min = 64, max = 512, default = 64 }}
height = {{ min = 64, max = 512, default = 64 }}
pixels_max = 262144
num_inference_steps = {{ min = 1, max = 200, default = 4 }}
guidance_scale = {{ min = 0.0, max = 10.0, default = 4.5 }}
max_sequence_length = {{ min = 16, max = 77, default = 77 }}
batch_slots = {BATCH_SLOTS}
interactive_slots = 1
"""
# Longer than any test: what begins to be drawn is still being drawn at its end.
ENDLESS = ImageSpec(prompt="a red mug", width=512, height=512, num_inference_steps=200)
SHORT = ImageSpec(prompt="a blue vase", width=64, height=64, num_inference_steps=4, seed=7)
MODERATE = ImageSpec(prompt="a green hat", width=64, height=64, num_inference_steps=40)


@pytest.fixture(scope="module")
def up() -> Generator[Up]:
    directory = Path(tempfile.mkdtemp(prefix="atelier-up-"))
    directory.chmod(0o755)
    (directory / "models.toml").write_text(CATALOGUE)
    up = Up(directory).runs()
    yield up
    up.stop()
    for process in processes_of(directory):
        process.kill()
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def api_key(up: Up) -> str:
    return open_studio(up, TENANT)


@pytest.fixture
async def client(up: Up, api_key: str) -> AsyncGenerator[atelier.AsyncClient]:
    """A studio's client; whatever is left of its jobs is cancelled."""
    async with atelier.AsyncClient(address_of(up), api_key=api_key) as client:
        yield client
        open_states = [JobState.JOB_STATE_QUEUED, JobState.JOB_STATE_RUNNING]
        async for job in client.list_jobs(JobFilter(states=open_states)):
            await client.cancel_job(job.name)
            await client.wait_for_job(job.name)


async def order_many(client: atelier.AsyncClient, spec: ImageSpec) -> Job:
    job = await client.order_job([JobSpec(image=spec, count=1000)], tier=Tier.TIER_BATCH)
    async with aclosing(client.watch_job(job.name)) as watch:
        async for news in watch:
            # Progress is told when a step has begun.
            if news.HasField("progress") and news.progress.step > 0:
                break
    return job


async def images_of(client: atelier.AsyncClient, job: Job) -> list[Image]:
    return [image async for image in client.list_images(job.name)]


def worker_log(up: Up) -> list[dict[str, object]]:
    """What the tenant's worker logged, apart from what libraries print."""
    path = DataDirectory(up.directory / "data").logs / f"worker-{TENANT}-cpu-0.log"
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]


def claimed_between(images: list[Image], image: Image) -> int:
    """How many of the images were claimed after another was accepted and before it was claimed."""
    accepted, claimed = image.create_time.ToNanoseconds(), image.start_time.ToNanoseconds()
    return sum(
        one.HasField("start_time") and accepted < one.start_time.ToNanoseconds() < claimed
        for one in images
    )


async def test_a_picture_somebody_waits_for_overtakes_a_thousand_that_are_drawn(
    client: atelier.AsyncClient,
) -> None:
    batch = await order_many(client, ENDLESS)

    news = [one async for one in client.stream_image(SHORT)]

    images = [one.image for one in news if one.HasField("image")]
    assert [image.state for image in images] == [
        ImageState.IMAGE_STATE_QUEUED,
        ImageState.IMAGE_STATE_RUNNING,
        ImageState.IMAGE_STATE_SUCCEEDED,
    ]
    picture = b"".join(one.chunk for one in news)
    (file,) = [one.file for one in news if one.HasField("file")]
    assert picture.startswith(b"\x89PNG")
    assert hashlib.sha256(picture).hexdigest() == file.sha256
    # It took no slot of the batch, whose images were not even half done: it came in between two
    # steps, and since it has another size the batch waited while it was drawn.
    busy = await client.get_job(batch.name)
    assert (busy.running_count, busy.succeeded_count) == (BATCH_SLOTS, 0)
    assert claimed_between(await images_of(client, batch), images[-1]) == 0
    assert [(one.batch_size, one.step_count) for one in images[-1].receipt.batch_shares] == [(1, 4)]


async def test_cancelled_images_stop_within_one_step_and_free_their_slots(
    up: Up, client: atelier.AsyncClient
) -> None:
    batch = await order_many(client, ENDLESS)
    running = {
        image.name.rpartition("/")[2]
        for image in await images_of(client, batch)
        if image.state == ImageState.IMAGE_STATE_RUNNING
    }
    waiting = await client.order_job([JobSpec(image=SHORT, count=1)], tier=Tier.TIER_BATCH)

    await client.cancel_job(batch.name)

    cancelled = await client.wait_for_job(batch.name)
    assert cancelled.state == JobState.JOB_STATE_CANCELLED
    assert (cancelled.cancelled_count, cancelled.price.nanos) == (1000, 0)
    assert (await client.wait_for_job(waiting.name)).state == JobState.JOB_STATE_SUCCEEDED
    stops = [line for line in worker_log(up) if line["event"] == "image_stopped"]
    stopped = {line["image"]: line["steps_since"] for line in stops if line["reason"] == "WISHED"}
    assert running <= stopped.keys()
    assert {stopped[image] for image in running} <= {0, 1}


async def test_previews_come_with_the_progress(client: atelier.AsyncClient) -> None:
    spec = ImageSpec(prompt="a red mug", width=256, height=256, num_inference_steps=40)

    news = [one async for one in client.stream_image(spec, previews=True)]

    progress = [one.progress for one in news if one.HasField("progress")]
    steps = [one.step for one in progress]
    assert steps == sorted(steps)
    assert any(one.preview.startswith(b"\x89PNG") for one in progress)


async def test_a_job_of_one_is_not_held_up_by_an_earlier_thousand(
    client: atelier.AsyncClient,
) -> None:
    large = await order_many(client, MODERATE)

    small = await client.order_job([JobSpec(image=MODERATE, count=1)], tier=Tier.TIER_BATCH)
    await client.wait_for_job(small.name)

    (image,) = await images_of(client, small)
    assert image.state == ImageState.IMAGE_STATE_SUCCEEDED
    # One may have been claimed while the small job was being accepted.
    assert claimed_between(await images_of(client, large), image) <= 1
    assert (await client.get_job(large.name)).queued_count > 500


async def test_a_picture_that_nobody_waits_for_any_more_is_cancelled(
    client: atelier.AsyncClient,
) -> None:
    async with aclosing(client.stream_image(ENDLESS)) as stream:
        accepted = await anext(stream)
        async for news in stream:
            if news.HasField("progress"):
                break
    name = accepted.image.name.partition("/images/")[0]

    ended = await asyncio.wait_for(client.wait_for_job(name), timeout=60)

    assert ended.state == JobState.JOB_STATE_CANCELLED
    assert ended.price.nanos == 0
