"""Sockets that come and go, sessions, claims, and what a worker is told."""

import asyncio
import shutil
from collections.abc import AsyncGenerator

import grpc
import pytest
from psycopg import AsyncConnection

from metering.price_document import Tier
from services.internal.v1 import recorder_pb2, recorder_pb2_grpc
from services.jobs.image_states import ImageState
from services.worker.errors import RecorderUnavailableError
from services.worker.work import Truth
from tenants.run_directory import RunDirectory
from tests.integration.fixture_types import Postgres
from tests.integration.installation import (
    Process,
    Studio,
    eventually,
    make_tenant_directory,
    open_studio,
    spec,
    until_served,
)
from tests.integration.services.recorder.session import Session, drawn

pytestmark = pytest.mark.integration


@pytest.fixture
def recorder_settings() -> dict[str, object]:
    return {"energy_wait_seconds": 0.1, "unheld_seconds": 0.5, "lease_seconds": 2.0}


@pytest.fixture
async def silent_session(
    recorder: Process, run: RunDirectory, studio: Studio
) -> AsyncGenerator[Session]:
    """A session that says something only when it is asked to: what it hears else was pushed."""
    await until_served(run.recorder_socket(studio.tenant_id))
    session = Session(run.recorder_socket(studio.tenant_id), heartbeat_seconds=3600.0)
    yield session
    session.close()


async def until_truth(session: Session, *, interactive_images_waiting: int) -> Truth:
    async def told() -> Truth | None:
        truth = await session.heard()
        return truth if truth.interactive_images_waiting == interactive_images_waiting else None

    return await eventually(told)


async def test_a_tenant_that_appears_is_served_and_one_that_goes_is_not(
    session: Session, run: RunDirectory, studio: Studio, postgres: Postgres
) -> None:
    newcomer = await open_studio(postgres, f"{studio.tenant_id}-b")
    make_tenant_directory(run.path, newcomer.tenant_id)
    await until_served(run.recorder_socket(newcomer.tenant_id), seconds=5.0)
    other = Session(run.recorder_socket(newcomer.tenant_id))
    await other.heard()

    await asyncio.to_thread(shutil.rmtree, run.tenant_directory(newcomer.tenant_id))

    await asyncio.sleep(1.5)
    with pytest.raises(RecorderUnavailableError):
        await asyncio.to_thread(other.client.claim, interactive_only=False, nothing_in_flight=True)
    other.close()
    assert await session.heard()


async def test_a_socket_that_vanished_is_made_again(
    session: Session, run: RunDirectory, studio: Studio
) -> None:
    path = run.recorder_socket(studio.tenant_id)

    path.unlink()

    await until_served(path, seconds=5.0)
    assert await session.heard()


async def test_a_socket_offers_only_what_its_callers_need(
    session: Session, run: RunDirectory, studio: Studio
) -> None:
    async def code_of(path: object, method: str, request: object) -> grpc.StatusCode:
        async with grpc.aio.insecure_channel(f"unix:{path}") as channel:
            stub = recorder_pb2_grpc.RecorderServiceStub(channel)
            return await getattr(stub, method)(request).code()

    refused = [
        await code_of(
            run.recorder_socket(studio.tenant_id),
            "RecordSegments",
            recorder_pb2.RecordSegmentsRequest(),
        ),
        await code_of(
            run.recorder_socket(studio.tenant_id), "ReadPicture", recorder_pb2.ReadPictureRequest()
        ),
        await code_of(
            run.recorder_meter_socket, "ClaimImage", recorder_pb2.ClaimImageRequest(session_id="x")
        ),
        await code_of(
            run.recorder_gateway_socket,
            "GetLastReading",
            recorder_pb2.GetLastReadingRequest(gpu_id="cpu-0"),
        ),
    ]

    assert refused == [grpc.StatusCode.UNIMPLEMENTED] * 4


async def test_each_claim_hands_out_another_image_until_there_is_none(
    session: Session, studio: Studio
) -> None:
    await studio.accept(spec(seed=1), spec(seed=2))

    first, second = await session.claim(), await session.claim()
    none = await asyncio.to_thread(
        session.client.claim, interactive_only=False, nothing_in_flight=True
    )

    assert [first.spec.seed, second.spec.seed] == [1, 2]
    assert none is None


async def test_another_tenants_images_are_never_handed_out(
    session: Session, studio: Studio, postgres: Postgres
) -> None:
    stranger = await open_studio(postgres, f"{studio.tenant_id}-b")
    await stranger.accept(spec())
    await session.heard()

    claimed = await asyncio.to_thread(
        session.client.claim, interactive_only=False, nothing_in_flight=True
    )

    assert claimed is None


async def test_waiting_interactive_images_are_told_with_every_heartbeat(
    session: Session, studio: Studio
) -> None:
    await studio.accept(spec())
    await studio.accept(spec(), tier=Tier.INTERACTIVE)

    truth = await until_truth(session, interactive_images_waiting=1)
    work = await asyncio.to_thread(
        session.client.claim, interactive_only=True, nothing_in_flight=False
    )

    assert not truth.drain
    assert work is not None
    assert work.interactive
    await until_truth(session, interactive_images_waiting=0)


async def test_an_image_that_lost_a_worker_goes_first_to_one_with_nothing_in_flight(
    session: Session, studio: Studio
) -> None:
    await studio.accept(spec(seed=1))
    lost = await session.claim()
    await studio.lose(lost.held.image_id)
    session.held.remove(lost.held.key)
    await studio.accept(spec(seed=2), spec(seed=3))

    async def told() -> Truth | None:
        truth = await session.heard()
        return truth if truth.alone_images_waiting == 1 else None

    await eventually(told)
    beside = await asyncio.to_thread(
        session.client.claim, interactive_only=False, nothing_in_flight=False
    )
    alone = await asyncio.to_thread(
        session.client.claim, interactive_only=False, nothing_in_flight=True
    )

    assert beside is not None
    assert alone is not None
    assert (beside.spec.seed, beside.alone) == (2, False)
    assert (alone.spec.seed, alone.alone, alone.held.attempt) == (1, True, 2)


async def test_a_cancel_wish_travels_down_until_it_is_confirmed(
    session: Session, studio: Studio
) -> None:
    job = await studio.accept(spec())
    work = await session.claim()

    await studio.cancel(job)

    for _ in range(2):
        assert await session.heard(lambda truth: truth.cancel_wishes == {work.held.key})


async def test_an_attempt_given_to_somebody_else_is_told_as_invalid(
    session: Session, studio: Studio
) -> None:
    await studio.accept(spec())
    work = await session.claim()

    await studio.write(
        "UPDATE images SET claim_token = gen_random_uuid() WHERE image_id = %s", work.held.image_id
    )

    assert await session.heard(lambda truth: truth.invalid_attempts == {work.held.key})


async def test_a_cancel_wish_is_told_between_two_heartbeats(
    silent_session: Session, studio: Studio
) -> None:
    job = await studio.accept(spec(), spec())
    # Of the second one no heartbeat has told yet.
    known, news = await silent_session.claim(), await silent_session.claim()
    told = asyncio.create_task(silent_session.told())

    await studio.cancel(job)

    assert (await told).cancel_wishes == {known.held.key, news.held.key}


async def test_an_attempt_given_up_for_lost_is_told_between_two_heartbeats(
    silent_session: Session, studio: Studio
) -> None:
    await studio.accept(spec())
    work = await silent_session.claim()
    await silent_session.heard()
    told = asyncio.create_task(silent_session.told())

    await studio.lose(work.held.image_id)

    assert (await told).invalid_attempts == {work.held.key}


async def test_an_image_that_waits_too_long_to_run_alone_goes_before_interactive_ones(
    session: Session, studio: Studio
) -> None:
    await studio.accept(spec(seed=1))
    lost = await session.claim()
    await studio.lose(lost.held.image_id)
    session.held.remove(lost.held.key)
    await studio.accept(spec(seed=2), spec(seed=3), tier=Tier.INTERACTIVE)
    patient = await session.heard()
    first = await session.claim()

    await studio.write(
        "UPDATE attempts SET end_time = end_time - interval '31 s' WHERE image_id = %s",
        lost.held.image_id,
    )

    assert await session.heard(lambda truth: truth.alone_image_overdue)
    second = await session.claim()
    assert not patient.alone_image_overdue
    assert [(first.spec.seed, first.alone), (second.spec.seed, second.alone)] == [
        (2, False),
        (1, True),
    ]


async def test_progress_is_written_once_the_first_step_has_begun(
    session: Session, studio: Studio
) -> None:
    await studio.accept(spec(steps=10))
    work = await session.claim()
    query = "SELECT step, step_count FROM image_progress WHERE image_id = %s"
    await session.heard()
    before = await studio.rows(query, work.held.image_id)

    session.held.note_progress(work.held.key, step=3, step_count=10, preview=b"")

    async def written() -> list[dict[str, object]] | None:
        return await studio.rows(query, work.held.image_id) or None

    assert before == []
    assert await eventually(written) == [{"step": 3, "step_count": 10}]
    begun = await studio.rows(
        "SELECT began_step FROM attempts WHERE image_id = %s", work.held.image_id
    )
    assert begun == [{"began_step": True}]


async def test_a_claim_whose_answer_was_lost_is_taken_back(
    session: Session, studio: Studio
) -> None:
    await studio.accept(spec())
    await session.heard()
    work = await asyncio.to_thread(
        session.client.claim, interactive_only=False, nothing_in_flight=True
    )
    assert work is not None

    # The session lives on and no heartbeat of it names the image.
    image = await studio.until_state(work.held.image_id, ImageState.QUEUED)

    assert image.lost_attempt_count == 0
    again = await session.claim()
    assert again.held.attempt == 2
    assert await session.finish(drawn(again.held))
    assert await studio.violations() == {}


async def test_a_session_that_says_good_bye_ends_at_once(session: Session, studio: Studio) -> None:
    await session.heard()

    session.close()

    async def has_ended() -> bool | None:
        rows = await studio.rows(
            "SELECT 1 FROM worker_sessions WHERE session_id = %s AND end_time IS NOT NULL",
            session.session_id,
        )
        return bool(rows) or None

    assert await eventually(has_ended, seconds=5.0)


async def test_a_session_outlives_its_recorder(
    session: Session, studio: Studio, recorder: Process
) -> None:
    await studio.accept(spec())
    work = await session.claim()

    recorder.kill()
    recorder.start()

    await session.heard()
    assert await session.finish(drawn(work.held))


async def test_a_session_of_the_same_name_at_another_tenant_sees_and_holds_nothing_of_this_one(
    session: Session, studio: Studio, run: RunDirectory, postgres: Postgres
) -> None:
    stranger = await open_studio(postgres, f"{studio.tenant_id}-b")
    make_tenant_directory(run.path, stranger.tenant_id)
    await until_served(run.recorder_socket(stranger.tenant_id))
    await studio.accept(spec())
    work = await session.claim()

    address = f"unix:{run.recorder_socket(stranger.tenant_id)}"
    async with grpc.aio.insecure_channel(address) as channel:
        beat = recorder_pb2.AttendRequest(
            session_id=session.session_id, model="tiny", gpu_id="cpu-0", ready=True
        )
        stub = recorder_pb2_grpc.RecorderServiceStub(channel)
        # Their stream ends, and with it their session of that name.
        truths = [truth async for truth in stub.Attend(iter([beat]))]

    assert len(truths) == 1
    assert (list(truths[0].cancel_wishes), list(truths[0].invalid_attempts)) == ([], [])
    assert await session.finish(drawn(work.held))


async def test_a_worker_hears_the_pace_of_its_gpu_with_its_next_heartbeat(
    session: Session, postgres: Postgres
) -> None:
    before = await session.heard()
    async with await AsyncConnection.connect(postgres.admin_url, autocommit=True) as connection:
        await connection.execute(
            b"INSERT INTO gpus (gpu_id, duty_cycle) VALUES ('cpu-0', 0.42)"
            b" ON CONFLICT (gpu_id) DO UPDATE SET duty_cycle = 0.42"
        )
        assert await session.heard(lambda truth: truth.duty_cycle == 0.42)
        await connection.execute(b"UPDATE gpus SET duty_cycle = 1 WHERE gpu_id = 'cpu-0'")

    assert before.duty_cycle == 1.0
