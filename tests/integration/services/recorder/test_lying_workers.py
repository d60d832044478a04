"""A worker that lies: refused and counted, and its neighbours notice nothing."""

import hashlib
import math
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from uuid import uuid4

import grpc
import grpc.aio
import pytest
from PIL import Image

from services.internal.v1 import recorder_pb2, recorder_pb2_grpc
from services.jobs.image_states import ImageState
from services.worker.work import HeldAttempt
from tenants.run_directory import RunDirectory
from tests.integration.fixture_types import Postgres
from tests.integration.installation import (
    PRICE_NANOS,
    Studio,
    make_tenant_directory,
    open_studio,
    spec,
    until_served,
)
from tests.integration.services.recorder.refusal_counts import until_counted
from tests.integration.services.recorder.session import Session, drawn, png

pytestmark = pytest.mark.integration

MEBIBYTE = 1 << 20
PICTURE = png()
JPEG = BytesIO()
Image.new("RGB", (64, 64)).save(JPEG, format="JPEG")

# What is said of an attempt that is one's own, and how it is answered.
LIES: dict[str, tuple[dict[str, Any], str]] = {
    "another session": ({"session_id": "s2"}, "INVALID_ARGUMENT"),
    "another device": ({"gpu_id": "cpu-7"}, "INVALID_ARGUMENT"),
    "an hour of work": ({"gpu_seconds": 3600.0}, "INVALID_ARGUMENT"),
    "an hour of waiting": ({"queue_seconds": 3600.0}, "INVALID_ARGUMENT"),
    "negative work": ({"gpu_seconds": -1.0}, "INVALID_ARGUMENT"),
    "no number": ({"gpu_seconds": math.nan}, "INVALID_ARGUMENT"),
    "another hash": ({"sha256": "0" * 64}, "DATA_LOSS"),
    "fewer bytes": ({"byte_count": 10}, "DATA_LOSS"),
    "too many bytes": ({"byte_count": 1 << 40}, "INVALID_ARGUMENT"),
    "no outcome": ({"outcome": 0}, "INVALID_ARGUMENT"),
}
# Attempts that are not the worker's own: answered, never taken.
NOT_OURS: dict[str, dict[str, Any]] = {
    "another image": {"image_id": "0" * 20},
    "another attempt": {"attempt": 2},
    "another token": {"claim_token": str(uuid4())},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Liar:
    """Speaks the recorder's protocol by hand, through its own tenant's socket."""

    session: Session
    stub: Any

    async def finish(
        self,
        held: HeldAttempt,
        *chunks: bytes,
        picture: bytes = PICTURE,
        named: dict[str, Any] | None = None,
        **said: Any,
    ) -> tuple[str, recorder_pb2.FinishImageResponse]:
        """End an attempt with a truthful message but for what is said."""
        honest: dict[str, Any] = {
            "outcome": recorder_pb2.ATTEMPT_OUTCOME_PICTURE,
            "session_id": self.session.session_id,
            "gpu_id": "cpu-0",
            "sha256": hashlib.sha256(picture).hexdigest(),
            "byte_count": len(picture),
        }
        attempt: dict[str, Any] = {
            "image_id": held.image_id,
            "attempt": held.attempt,
            "claim_token": held.claim_token,
        } | (named or {})
        first = recorder_pb2.FinishedAttempt(
            attempt=recorder_pb2.Attempt(**attempt), **(honest | said)
        )

        def requests() -> Iterator[recorder_pb2.FinishImageRequest]:
            yield recorder_pb2.FinishImageRequest(attempt=first)
            for chunk in chunks or (picture,):
                yield recorder_pb2.FinishImageRequest(chunk=chunk)

        try:
            return "OK", await self.stub.FinishImage(requests())
        except grpc.aio.AioRpcError as error:
            return error.code().name, recorder_pb2.FinishImageResponse()


@pytest.fixture
async def liar(session: Session, studio: Studio, run: RunDirectory) -> AsyncGenerator[Liar]:
    address = f"unix:{run.recorder_socket(studio.tenant_id)}"
    async with grpc.aio.insecure_channel(address) as channel:
        yield Liar(session=session, stub=recorder_pb2_grpc.RecorderServiceStub(channel))


@pytest.fixture
async def neighbour(
    session: Session, postgres: Postgres, run: RunDirectory, studio: Studio
) -> Studio:
    neighbour = await open_studio(postgres, f"{studio.tenant_id}-n")
    make_tenant_directory(run.path, neighbour.tenant_id)
    await until_served(run.recorder_socket(neighbour.tenant_id))
    return neighbour


async def test_lies_about_an_attempt_are_refused_counted_and_harm_no_neighbour(
    liar: Liar, studio: Studio, neighbour: Studio, run: RunDirectory
) -> None:
    await studio.accept(spec())
    await neighbour.accept(spec())
    held = (await liar.session.claim()).held
    other = Session(run.recorder_socket(neighbour.tenant_id))
    work = await other.claim()
    answers: dict[str, str] = {}
    for lie, (said, _) in LIES.items():
        answers[lie], _ = await liar.finish(held, **said)
    untaken = [await liar.finish(held, named=named) for named in NOT_OURS.values()]
    stolen = await liar.finish(work.held)
    large_chunk, _ = await liar.finish(held, bytes(MEBIBYTE + 1), byte_count=2 * MEBIBYTE)
    # The library refuses a message of this size before it is read; the stream breaks off.
    large_message, _ = await liar.finish(held, bytes(5 * MEBIBYTE), byte_count=6 * MEBIBYTE)

    served = await other.finish(drawn(work.held))
    told_truth = await liar.finish(held)
    other.close()
    assert answers == {lie: code for lie, (_, code) in LIES.items()}
    # Another tenant's attempt with its true token is answered as one that never was.
    assert {answer.SerializeToString() for _, answer in [*untaken, stolen]} == {
        recorder_pb2.FinishImageResponse(accepted=False, state="FAILED").SerializeToString()
    }
    assert large_chunk == "INVALID_ARGUMENT"
    assert large_message in {"RESOURCE_EXHAUSTED", "DATA_LOSS"}
    assert served
    assert told_truth[1].accepted
    assert await neighbour.captures() == [(work.held.image_id, PRICE_NANOS)]
    assert await studio.violations() == {}
    # What broke off is counted as damaged, unless the library was quicker to end the call.
    counts = {"MESSAGE_INVALID": 9, "ATTEMPT_REFUSED": 4}
    await until_counted(studio, counts | {"PICTURE_DAMAGED": 3}, counts | {"PICTURE_DAMAGED": 2})
    await until_counted(neighbour, {})


@pytest.mark.parametrize("picture", [png(size=32), JPEG.getvalue()], ids=["size", "format"])
async def test_a_picture_that_was_not_asked_for_ends_its_own_image_and_is_counted(
    liar: Liar, studio: Studio, picture: bytes
) -> None:
    await studio.accept(spec())
    held = (await liar.session.claim()).held

    _, answer = await liar.finish(held, picture=picture)

    assert answer.state == ImageState.FAILED
    assert await studio.captures() == []
    await until_counted(studio, {"PICTURE_INVALID": 1})


async def test_claims_of_a_session_that_never_attended_or_find_nothing_are_counted(
    liar: Liar, studio: Studio
) -> None:
    await liar.session.heard()

    unknown = recorder_pb2.ClaimImageRequest(session_id="never", model="tiny")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await liar.stub.ClaimImage(unknown)
    known = recorder_pb2.ClaimImageRequest(session_id=liar.session.session_id, model="tiny")
    empty = [await liar.stub.ClaimImage(known) for _ in range(3)]

    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert empty == [recorder_pb2.ClaimImageResponse()] * 3
    await until_counted(studio, {"SESSION_UNKNOWN": 1, "EMPTY_CLAIM": 3})


async def test_garbage_in_the_queue_is_counted_once_however_often_it_is_told(
    liar: Liar, studio: Studio
) -> None:
    for told in (0, 3, 3, 5):
        liar.session.garbage_tokens = told
        await liar.session.heard()

    await until_counted(studio, {"GARBAGE_TOKEN": 5})


async def test_a_worker_that_boasts_of_garbage_fills_no_counter(liar: Liar, studio: Studio) -> None:
    for told in (0, 2**63 - 1):
        liar.session.garbage_tokens = told
        await liar.session.heard()

    await until_counted(studio, {"GARBAGE_TOKEN": 10_000})
