import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

import atelier
from atelier.errors import (
    DownloadCorruptError,
    InsufficientBalanceError,
    QueueFullError,
    UnavailableError,
)
from atelier.retries import RetryPolicy
from atelier.v1.image_pb2 import Image, ImageProgress, ImageState
from atelier.v1.job_service_pb2 import (
    CreateJobRequest,
    DownloadImageRequest,
    Job,
    JobState,
    KeepAlive,
    WatchJobRequest,
    WatchJobResponse,
)
from tests.unit.sdk.small_server import (
    IMAGE,
    JOB,
    PICTURE,
    Refusal,
    SmallJobService,
    finished_image,
    finished_job,
)

HASTY = RetryPolicy(first_delay_seconds=0.001, attempts_max=4)


@pytest.fixture
async def client(address: str) -> AsyncIterator[atelier.AsyncClient]:
    async with atelier.AsyncClient(address, api_key="key", retry_policy=HASTY) as opened:
        yield opened


def news(token: str, **what: Job | Image | ImageProgress | KeepAlive) -> WatchJobResponse:
    return WatchJobResponse(resume_token=token, **what)  # pyright: ignore[reportArgumentType]


def created(service: SmallJobService) -> list[CreateJobRequest]:
    return [request for request in service.requests if isinstance(request, CreateJobRequest)]


async def test_a_job_is_ordered_with_the_key_and_a_fresh_request_id(
    client: atelier.AsyncClient, service: SmallJobService
) -> None:
    job = await client.order_job(["a mug", atelier.ImageSpec(prompt="a lamp", seed=7)])

    [request] = created(service)
    assert service.authorizations == ["Bearer key"]
    assert job.image_count == 2
    assert request.parent == "tenants/-"
    assert uuid.UUID(request.request_id).version == 4
    assert [(spec.image.prompt, spec.count) for spec in request.job.specs] == [
        ("a mug", 1),
        ("a lamp", 1),
    ]


async def test_a_call_that_nobody_answers_is_sent_again_with_the_same_request_id(
    client: atelier.AsyncClient, service: SmallJobService
) -> None:
    draining = Refusal(grpc.StatusCode.UNAVAILABLE, "DRAINING")
    service.refusals = deque([draining, draining])

    await client.order_job(["a mug"])

    assert len(created(service)) == 3
    assert len({request.request_id for request in created(service)}) == 1


async def test_patience_has_an_end(client: atelier.AsyncClient, service: SmallJobService) -> None:
    service.refusals = deque([Refusal(grpc.StatusCode.UNAVAILABLE, "DATABASE_DOWN")] * 4)

    with pytest.raises(UnavailableError, match="DATABASE_DOWN"):
        await client.get_job("j1")

    assert len(service.requests) == 4


async def test_a_full_queue_without_a_hint_and_an_empty_wallet_are_told_at_once(
    client: atelier.AsyncClient, service: SmallJobService
) -> None:
    full = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
    empty = Refusal(grpc.StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_BALANCE")
    service.refusals = deque([full, empty])

    with pytest.raises(QueueFullError):
        await client.order_job(["a mug"])
    with pytest.raises(InsufficientBalanceError):
        await client.order_job(["a mug"])


async def test_a_watch_goes_on_where_the_connection_broke(
    client: atelier.AsyncClient, service: SmallJobService
) -> None:
    running = Job(name=JOB, state=JobState.JOB_STATE_RUNNING)
    image = finished_image("i1")
    service.watch_parts = deque(
        [
            [news("1", job=running), news("2", keep_alive=KeepAlive())],
            [news("3", image=image)],
            [news("4", job=finished_job(1))],
        ]
    )

    told = [one.resume_token async for one in client.watch_job("j1")]

    tokens = [r.resume_token for r in service.requests if isinstance(r, WatchJobRequest)]
    assert told == ["1", "3", "4"]
    assert tokens == ["", "2", "3"]


async def test_a_watch_that_finds_no_room_comes_back_when_the_server_says(
    client: atelier.AsyncClient, service: SmallJobService
) -> None:
    full = Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", retry_seconds=0.01)
    service.refusals = deque([full])
    service.watch_parts = deque([[news("1", job=finished_job(1))]])

    told = [one.resume_token async for one in client.watch_job("j1")]

    assert told == ["1"]
    assert len(service.requests) == 2


async def test_a_saved_picture_may_be_read_by_whom_the_umask_allows(
    client: atelier.AsyncClient, tmp_path: Path
) -> None:
    (tmp_path / "ordinary").touch()

    await client.save_image(IMAGE, tmp_path / "picture.png")

    mode = (tmp_path / "picture.png").stat().st_mode
    assert mode == (tmp_path / "ordinary").stat().st_mode


async def test_a_stream_that_ends_before_its_job_is_opened_again(
    client: atelier.AsyncClient, service: SmallJobService
) -> None:
    service.watch_parts = deque([[news("1", job=Job(state=JobState.JOB_STATE_RUNNING))]])
    first = client.watch_job("j1")
    await anext(first)
    service.watch_parts.append([news("2", job=finished_job(1))])

    rest = [one.resume_token async for one in first]

    assert rest == ["2"]


async def test_images_are_told_once_as_they_finish_and_none_is_forgotten(
    client: atelier.AsyncClient, service: SmallJobService
) -> None:
    blocked = finished_image("i2", ImageState.IMAGE_STATE_BLOCKED)
    service.images = [finished_image("i1"), blocked]
    running = finished_image("i1", ImageState.IMAGE_STATE_RUNNING)
    service.watch_parts = deque(
        [
            [
                news("1", image=running),
                news("2", image=finished_image("i1")),
                news("3", image=finished_image("i1")),
                news("4", job=finished_job(2)),
            ]
        ]
    )

    names = [image.name async for image in client.finished_images("j1")]

    assert names == [f"{JOB}/images/i1", f"{JOB}/images/i2"]


async def test_waiting_ends_where_only_a_person_can_go_on(
    client: atelier.AsyncClient, service: SmallJobService
) -> None:
    review = Job(name=JOB, state=JobState.JOB_STATE_AWAITING_REVIEW)
    service.watch_parts = deque([[news("1", job=review)]])

    assert await client.wait_for_job("j1") == review


async def test_a_download_goes_on_where_it_broke(
    client: atelier.AsyncClient, service: SmallJobService
) -> None:
    service.break_download_after = 100_000

    data = await client.download_image(IMAGE)

    offsets = [r.read_offset for r in service.requests if isinstance(r, DownloadImageRequest)]
    assert data == PICTURE
    assert offsets == [0, 100_000]


@pytest.mark.parametrize("received", [PICTURE[:-1], PICTURE[:-1] + b"x", PICTURE + b"x"])
async def test_a_picture_that_does_not_match_its_hash_leaves_no_file(
    client: atelier.AsyncClient, service: SmallJobService, tmp_path: Path, received: bytes
) -> None:
    service.picture = received

    with pytest.raises(DownloadCorruptError):
        await client.save_image(IMAGE, tmp_path / "picture.png")

    assert not any(tmp_path.iterdir())  # noqa: ASYNC240 - a local folder


async def test_the_ordinary_client_has_the_same_verbs(
    address: str, service: SmallJobService, tmp_path: Path
) -> None:
    service.watch_parts = deque([[news("1", image=finished_image("i1"))], []])
    service.watch_parts[-1] = [news("2", job=finished_job(1))]

    def use() -> tuple[str, list[str], list[str]]:
        with atelier.Client(address, api_key="key", retry_policy=HASTY) as client:
            job = client.create_job(["a mug"])
            images = [image.name for image in job.images()]
            client.save_image(images[0], tmp_path / "picture.png")
            return job.name, images, [found.name for found in client.list_jobs()]

    name, images, jobs = await asyncio.to_thread(use)

    assert (name, images, jobs) == (JOB, [IMAGE], [JOB])
    assert (tmp_path / "picture.png").read_bytes() == PICTURE


async def test_pictures_of_a_prompt_come_with_their_bytes(
    client: atelier.AsyncClient, service: SmallJobService
) -> None:
    service.watch_parts = deque([[news("1", job=finished_job(1))]])

    [picture] = await client.generate("a mug")

    [request] = created(service)
    assert request.job.tier == atelier.Tier.TIER_INTERACTIVE
    assert picture.data == PICTURE


async def test_pictures_that_came_are_not_lost_with_those_that_did_not(
    client: atelier.AsyncClient, service: SmallJobService
) -> None:
    service.images = [
        finished_image("i1"),
        finished_image("i2", ImageState.IMAGE_STATE_FAILED),
    ]
    service.watch_parts = deque([[news("1", job=finished_job(2))]])

    with pytest.raises(atelier.ImagesFailedError) as caught:
        await client.generate("a mug", count=2)

    assert [picture.name for picture in caught.value.pictures] == [IMAGE]
    assert len(caught.value.failed_images) == 1


def test_every_verb_of_the_async_client_stands_in_the_ordinary_one() -> None:
    verbs = {name for name in dir(atelier.AsyncClient) if not name.startswith("_")}

    assert verbs <= set(dir(atelier.Client))


async def test_a_list_that_was_not_read_to_its_end_may_outlive_its_client(address: str) -> None:
    def use() -> None:
        with atelier.Client(address, api_key="key") as client:
            unfinished = client.list_jobs()
            next(unfinished)
        unfinished.close()

    await asyncio.to_thread(use)


async def test_clients_in_many_threads_come_and_go_without_disturbing_one_another(
    address: str, service: SmallJobService, caplog: pytest.LogCaptureFixture
) -> None:
    service.watch_parts = deque([news("1", image=finished_image("i1"))] for _ in range(200))

    def use() -> int:
        found = 0
        for _ in range(8):
            with atelier.Client(address, api_key="key") as client:
                # Left in the middle, and so is its call.
                found += next(client.watch_job(JOB)).HasField("image")
        return found

    async with asyncio.TaskGroup() as group:
        uses = [group.create_task(asyncio.to_thread(use)) for _ in range(8)]

    assert [one.result() for one in uses] == [8] * 8
    # gRPC calls every event loop it has seen; one that was closed would complain here.
    assert [record.message for record in caplog.records if record.name == "asyncio"] == []
