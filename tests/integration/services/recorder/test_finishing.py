"""A worker ends its attempts: each picture is taken once, charged once, and stored."""

import asyncio
import hashlib

import grpc
import pytest

from services.internal.v1 import recorder_pb2, recorder_pb2_grpc
from services.jobs.image_states import ImageState, JobState
from services.worker.errors import RecorderUnavailableError, ResultRefusedError
from services.worker.work import HeldAttempt, Outcome
from tenants.run_directory import RunDirectory
from tests.integration.fixture_types import Postgres
from tests.integration.installation import (
    PRICE_NANOS,
    Process,
    Studio,
    eventually,
    make_tenant_directory,
    open_studio,
    spec,
    until_served,
)
from tests.integration.services.recorder.session import Session, drawn, ended, png
from tests.integration.small_disk import fill, small_disk

pytestmark = pytest.mark.integration


def spool_files(run: RunDirectory) -> list[str]:
    return sorted(path.name for path in (run.path / "spool").iterdir())


async def until_stored(studio: Studio, image_id: str) -> None:
    async def stored() -> bool | None:
        picture = (await studio.image(image_id)).picture
        return (picture is not None and picture.store_time is not None) or None

    await eventually(stored, what="the picture in the object store")


async def test_a_picture_is_charged_and_carried_to_the_object_store(
    session: Session, studio: Studio, run: RunDirectory
) -> None:
    job = await studio.accept(spec())
    work = await session.claim()

    accepted = await session.finish(drawn(work.held))

    assert accepted
    assert (await studio.job(job)).state is JobState.SUCCEEDED
    assert await studio.captures() == [(work.held.image_id, PRICE_NANOS)]
    await until_stored(studio, work.held.image_id)
    path = f"tenants/{studio.tenant_id}/jobs/{job.job_id}/{work.held.image_id}.png"
    assert (run.path / "objects" / path).read_bytes() == png()
    assert spool_files(run) == []
    assert await studio.violations() == {}


async def test_a_result_sent_again_gets_the_first_answer_and_changes_nothing(
    session: Session, studio: Studio, run: RunDirectory
) -> None:
    job = await studio.accept(spec())
    work = await session.claim()
    await session.finish(drawn(work.held))

    again = await session.finish(drawn(work.held, picture=png(shade=200)))

    assert again
    await until_stored(studio, work.held.image_id)
    path = f"tenants/{studio.tenant_id}/jobs/{job.job_id}/{work.held.image_id}.png"
    assert (run.path / "objects" / path).read_bytes() == png()
    assert await studio.captures() == [(work.held.image_id, PRICE_NANOS)]
    assert await studio.violations() == {}


async def test_a_result_sent_twice_at_once_is_taken_once(
    session: Session, studio: Studio, run: RunDirectory
) -> None:
    await studio.accept(spec())
    work = await session.claim()

    answers = await asyncio.gather(*(session.finish(drawn(work.held)) for _ in range(4)))

    assert answers == [True] * 4
    assert await studio.captures() == [(work.held.image_id, PRICE_NANOS)]
    await until_stored(studio, work.held.image_id)
    assert spool_files(run) == []


async def test_the_late_result_of_a_lost_attempt_is_refused_and_its_file_deleted(
    session: Session, studio: Studio, run: RunDirectory
) -> None:
    await studio.accept(spec())
    lost = await session.claim()
    await studio.lose(lost.held.image_id)
    second = await session.claim()

    late = await session.finish(drawn(lost.held))
    in_time = await session.finish(drawn(second.held))

    assert (late, in_time) == (False, True)
    assert second.held.attempt == 2
    assert await studio.captures() == [(lost.held.image_id, PRICE_NANOS)]
    await until_stored(studio, lost.held.image_id)
    assert spool_files(run) == []


@pytest.mark.parametrize("picture", [png(size=32), b"not a picture", png()[:60]])
async def test_what_is_not_the_picture_asked_for_fails_and_costs_nothing(
    session: Session, studio: Studio, run: RunDirectory, picture: bytes
) -> None:
    await studio.accept(spec())
    work = await session.claim()

    await session.finish(drawn(work.held, picture=picture))

    image = await studio.image(work.held.image_id)
    assert (image.state, image.failure_reason) == (ImageState.FAILED, "PICTURE_INVALID")
    assert await studio.captures() == []
    assert spool_files(run) == []
    assert await studio.violations() == {}


async def test_bytes_that_are_not_those_announced_are_not_kept(
    session: Session, studio: Studio, run: RunDirectory
) -> None:
    await studio.accept(spec())
    work = await session.claim()

    code = await send_raw(run, studio, session, work.held, picture=png(), announced=png(shade=1))

    assert code is grpc.StatusCode.DATA_LOSS
    assert spool_files(run) == []
    assert await session.finish(drawn(work.held))


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Outcome.FAILED, ImageState.FAILED),
        (Outcome.CANCELLED, ImageState.CANCELLED),
        (Outcome.HANDED_BACK, ImageState.QUEUED),
    ],
)
async def test_an_attempt_without_a_picture_costs_nothing(
    session: Session, studio: Studio, outcome: Outcome, state: ImageState
) -> None:
    await studio.accept(spec())
    work = await session.claim()

    answers = [await session.finish(ended(work.held, outcome)) for _ in range(2)]

    assert answers == [True, True]
    assert (await studio.image(work.held.image_id)).state is state
    assert await studio.captures() == []
    assert await studio.violations() == {}


@pytest.mark.parametrize("image_id", ["../../x", "", "A" * 20, "x" * 200])
async def test_an_image_id_that_could_name_another_file_is_refused(
    session: Session, image_id: str
) -> None:
    held = HeldAttempt(
        image_id=image_id, attempt=1, claim_token="00000000-0000-4000-8000-000000000000"
    )

    with pytest.raises(ResultRefusedError):
        await session.finish(drawn(held))


async def test_another_tenants_attempt_cannot_be_ended_even_with_its_token(
    session: Session, studio: Studio, run: RunDirectory, postgres: Postgres
) -> None:
    stranger = await open_studio(postgres, f"{studio.tenant_id}-b")
    make_tenant_directory(run.path, stranger.tenant_id)
    await until_served(run.recorder_socket(stranger.tenant_id))
    await studio.accept(spec())
    work = await session.claim()
    thief = Session(run.recorder_socket(stranger.tenant_id))
    await thief.heard()

    answers = [
        await thief.finish(drawn(work.held)),
        await thief.finish(ended(work.held, Outcome.CANCELLED)),
    ]
    thief.close()

    assert answers == [False, False]
    assert (await studio.image(work.held.image_id)).state is ImageState.RUNNING


async def test_while_the_object_store_refuses_a_picture_is_read_from_the_spool(
    session: Session, studio: Studio, run: RunDirectory
) -> None:
    await studio.accept(spec())
    work = await session.claim()
    # A file where the store wants a directory.
    (run.path / "objects" / "tenants").write_bytes(b"")

    accepted = await session.finish(drawn(work.held))

    assert accepted
    assert await read_picture(run, studio, work.held.image_id) == png()
    (run.path / "objects" / "tenants").unlink()
    await until_stored(studio, work.held.image_id)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await read_picture(run, studio, work.held.image_id)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert await studio.captures() == [(work.held.image_id, PRICE_NANOS)]


async def test_a_recorder_killed_with_a_full_spool_goes_on_where_it_was(
    session: Session, studio: Studio, run: RunDirectory, recorder: Process, postgres: Postgres
) -> None:
    await studio.accept(spec())
    work = await session.claim()
    (run.path / "objects" / "tenants").write_bytes(b"")
    await session.finish(drawn(work.held))
    recorder.kill()
    (run.path / "spool" / "of-nobody.1.unfinished").write_bytes(b"half a picture")
    (run.path / "objects" / "tenants").unlink()

    recorder.start()

    await until_stored(studio, work.held.image_id)
    assert spool_files(run) == []
    assert await studio.captures() == [(work.held.image_id, PRICE_NANOS)]


async def test_a_full_disk_refuses_a_picture_and_takes_it_once_there_is_room(
    session: Session, studio: Studio, run: RunDirectory, recorder: Process
) -> None:
    await studio.accept(spec())
    work = await session.claim()
    with small_disk(run.path / "spool"):
        rubbish = fill(run.path / "spool")

        with pytest.raises(RecorderUnavailableError, match="RESOURCE_EXHAUSTED: SpoolUnusable"):
            await session.finish(drawn(work.held))

        kept = spool_files(run)
        running = await studio.image(work.held.image_id)
        rubbish.unlink()
        accepted = await session.finish(drawn(work.held))
        await until_stored(studio, work.held.image_id)
    assert kept == [rubbish.name]
    assert running.state is ImageState.RUNNING
    assert '"reason": "No space left on device"' in recorder.log()
    assert accepted
    assert await studio.captures() == [(work.held.image_id, PRICE_NANOS)]
    assert await studio.violations() == {}


async def test_a_recorder_that_starts_without_its_object_store_serves_and_stores_later(
    session: Session, studio: Studio, run: RunDirectory, recorder: Process
) -> None:
    await studio.accept(spec())
    work = await session.claim()
    recorder.kill()
    objects = run.path / "objects"
    objects.rename(run.path / "objects-away")
    # Even root cannot make a folder of a file.
    objects.touch()

    recorder.start()

    await session.heard()
    assert await session.finish(drawn(work.held))
    assert await read_picture(run, studio, work.held.image_id) == png()
    objects.unlink()
    (run.path / "objects-away").rename(objects)
    await until_stored(studio, work.held.image_id)
    assert await studio.captures() == [(work.held.image_id, PRICE_NANOS)]


async def test_sigterm_ends_the_recorder_with_0_and_removes_its_sockets(
    session: Session, run: RunDirectory, studio: Studio, recorder: Process
) -> None:
    code = await asyncio.to_thread(recorder.stop)

    assert code == 0
    assert not run.recorder_socket(studio.tenant_id).exists()


async def read_picture(run: RunDirectory, studio: Studio, image_id: str) -> bytes:
    async with grpc.aio.insecure_channel(f"unix:{run.recorder_gateway_socket}") as channel:
        call = recorder_pb2_grpc.RecorderServiceStub(channel).ReadPicture(
            recorder_pb2.ReadPictureRequest(tenant_id=studio.tenant_id, image_id=image_id)
        )
        return b"".join([response.chunk async for response in call])


async def send_raw(
    run: RunDirectory,
    studio: Studio,
    session: Session,
    held: HeldAttempt,
    *,
    picture: bytes,
    announced: bytes,
) -> grpc.StatusCode:
    messages = [
        recorder_pb2.FinishImageRequest(
            attempt=recorder_pb2.FinishedAttempt(
                attempt=recorder_pb2.Attempt(
                    image_id=held.image_id, attempt=held.attempt, claim_token=held.claim_token
                ),
                outcome=recorder_pb2.ATTEMPT_OUTCOME_PICTURE,
                session_id=session.session_id,
                gpu_id="cpu-0",
                sha256=hashlib.sha256(announced).hexdigest(),
                byte_count=len(announced),
            )
        ),
        recorder_pb2.FinishImageRequest(chunk=picture),
    ]
    address = f"unix:{run.recorder_socket(studio.tenant_id)}"
    async with grpc.aio.insecure_channel(address) as channel:
        call = recorder_pb2_grpc.RecorderServiceStub(channel).FinishImage(iter(messages))
        return await call.code()
