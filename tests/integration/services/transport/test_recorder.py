"""The recorder over TCP: two tenants through one server, and whom it refuses."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import pytest
import trustme

from services.internal.v1 import recorder_pb2, recorder_pb2_grpc
from services.jobs.image_states import ImageState
from services.transport.callees import Callee
from services.transport.channels import open_aio_channel
from services.transport.identities import ProcessRole
from services.worker.errors import RecorderUnavailableError
from services.worker.recorder_client import RecorderClient
from services.worker.work import Beat, Truth
from tests.integration.certificates import write_identity
from tests.integration.installation import PRICE_NANOS, Studio, eventually, spec
from tests.integration.services.recorder.session import Session, drawn, png
from tests.integration.services.transport.conftest import Place, system_uri, worker_uri

pytestmark = pytest.mark.integration

DENIED = grpc.StatusCode.PERMISSION_DENIED
NO_SUCH_IMAGE = "0" * 20
BEAT = Beat(
    ready=True,
    batch_slots_free=1,
    interactive_slots_free=1,
    waiting_tokens=0,
    engine_step_counter=0,
    garbage_tokens=0,
    progress=[],
)


@asynccontextmanager
async def attending(place: Place, studio: Studio) -> AsyncGenerator[Session]:
    session = Session(await place.caller(worker_uri(studio.tenant_id)))
    try:
        yield session
    finally:
        session.close()


async def answer_of(callee: Callee, call: str, request: Any) -> grpc.StatusCode:
    """How one call is answered."""
    async with open_aio_channel(callee) as channel:
        return await code_of(channel, call, request)


async def code_of(channel: grpc.aio.Channel, call: str, request: Any) -> grpc.StatusCode:
    stub = recorder_pb2_grpc.RecorderServiceStub(channel)
    return await getattr(stub, call)(request, timeout=30).code()


def attend(callee: Callee) -> list[Truth]:
    client = RecorderClient(
        callee, session_id="s", model="tiny", gpu_id="cpu-0", process_id=1, precision=""
    )
    try:
        return list(client.attend(iter([BEAT])))
    finally:
        client.close()


def claim() -> recorder_pb2.ClaimImageRequest:
    return recorder_pb2.ClaimImageRequest(session_id="s", model="tiny")


async def test_two_tenants_draw_through_one_server(
    place: Place, studios: tuple[Studio, Studio]
) -> None:
    jobs = [await studio.accept(spec(), spec()) for studio in studios]
    pictures: dict[str, bytes] = {}
    for studio in studios:
        async with attending(place, studio) as session:
            work = await session.claim()
            assert await session.finish(drawn(work.held))
            pictures[studio.tenant_id] = await read_picture(place, studio, work.held.image_id)

    for studio, job in zip(studios, jobs, strict=True):
        rows = await studio.rows(
            "SELECT state FROM images WHERE job_id = %s ORDER BY state", job.job_id
        )
        assert [row["state"] for row in rows] == ["QUEUED", "SUCCEEDED"]
        assert [nanos for _image, nanos in await studio.captures()] == [PRICE_NANOS]
    assert pictures == {studio.tenant_id: png() for studio in studios}


async def read_picture(place: Place, studio: Studio, image_id: str) -> bytes:
    """Read as a gateway; what has left the spool lies in the store."""
    request = recorder_pb2.ReadPictureRequest(tenant_id=studio.tenant_id, image_id=image_id)
    callee = await place.caller(system_uri(ProcessRole.GATEWAY))
    async with open_aio_channel(callee) as channel:
        call = recorder_pb2_grpc.RecorderServiceStub(channel).ReadPicture(request)
        try:
            return b"".join([response.chunk async for response in call])
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
    (stored,) = (place.directory / "objects").rglob(f"*{image_id}*")
    return stored.read_bytes()


async def test_a_tenants_certificate_neither_claims_nor_finishes_anothers_image(
    place: Place, studios: tuple[Studio, Studio]
) -> None:
    ours, theirs = studios
    await theirs.accept(spec())
    async with attending(place, ours) as stranger, attending(place, theirs) as owner:
        await stranger.heard()
        empty = stranger.client.claim(interactive_only=False, nothing_in_flight=True)
        held = (await owner.claim()).held
        foreign = stranger.client.finish(drawn(held))
        missing = stranger.client.finish(drawn(replace(held, image_id=NO_SUCH_IMAGE)))

        assert empty is None
        assert (foreign, missing) == (False, False)
        assert (await theirs.image(held.image_id)).state is ImageState.RUNNING
        assert await owner.finish(drawn(held))


@pytest.mark.parametrize("role", [ProcessRole.METER, ProcessRole.GATEWAY, ProcessRole.FLEET])
async def test_a_system_process_is_no_worker(place: Place, role: ProcessRole) -> None:
    callee = await place.caller(system_uri(role))

    assert await answer_of(callee, "ClaimImage", claim()) is DENIED
    with pytest.raises(RecorderUnavailableError, match="PERMISSION_DENIED"):
        await asyncio.to_thread(attend, callee)


@pytest.mark.parametrize(
    ("call", "request_message"),
    [
        ("RecordSegments", recorder_pb2.RecordSegmentsRequest(gpu_id="gpu-0")),
        ("GetLastReading", recorder_pb2.GetLastReadingRequest(gpu_id="gpu-0")),
        ("ReadPicture", recorder_pb2.ReadPictureRequest(tenant_id="a-studio", image_id="0" * 20)),
        ("ProbeStorage", recorder_pb2.ProbeStorageRequest()),
    ],
)
async def test_a_worker_has_no_right_to_what_is_offered_to_the_system(
    place: Place, call: str, request_message: Any
) -> None:
    callee = await place.caller(worker_uri("a-studio"))

    assert await answer_of(callee, call, request_message) is DENIED


@pytest.mark.parametrize(
    "uri",
    [
        "spiffe://atelier/tenant/a-studio/recorder",
        "spiffe://atelier/system/worker",
        "spiffe://elsewhere/tenant/a-studio/worker",
        "spiffe://atelier/tenant/A-STUDIO/worker",
        "atelier://tenants/a-studio/roles/member",
    ],
)
async def test_a_name_that_is_none_of_ours_is_nobody(place: Place, uri: str) -> None:
    assert await answer_of(await place.caller(uri), "ClaimImage", claim()) is DENIED


async def test_no_handshake_without_a_good_certificate(place: Place) -> None:
    uri = worker_uri("a-studio")
    expired = await place.caller(uri, is_expired=True)
    foreign = await place.caller(uri, authority=trustme.CA())
    none = grpc.ssl_channel_credentials(place.authority.cert_pem.bytes())

    codes = [await answer_of(callee, "ClaimImage", claim()) for callee in (expired, foreign)]
    async with grpc.aio.secure_channel(expired.target, none) as channel:
        codes.append(await code_of(channel, "ClaimImage", claim()))
    async with grpc.aio.insecure_channel(expired.target) as channel:
        codes.append(await code_of(channel, "ClaimImage", claim()))

    assert codes == [grpc.StatusCode.UNAVAILABLE] * 4


async def test_renewed_certificates_are_used_without_a_restart_on_both_sides(
    place: Place, studios: tuple[Studio, Studio]
) -> None:
    studio, _other = studios
    await studio.accept(spec(), spec())
    callee = await place.caller(worker_uri(studio.tenant_id))
    assert callee.tls is not None
    session = Session(callee)
    assert await session.finish(drawn((await session.claim()).held))
    renewed = trustme.CA()
    write_identity(place.recorder_identity, renewed, system_uri(ProcessRole.RECORDER))
    write_identity(callee.tls.certificate_path.parent, renewed, worker_uri(studio.tenant_id))

    async def refused() -> bool | None:
        code = await answer_of(await place.caller(worker_uri("x-y")), "ClaimImage", claim())
        return True if code is grpc.StatusCode.UNAVAILABLE else None

    try:
        await eventually(refused, what="an end of the old authority")
        assert await session.finish(drawn((await session.claim()).held))
    finally:
        session.close()
        write_identity(place.recorder_identity, place.authority, system_uri(ProcessRole.RECORDER))
    assert len(await studio.captures()) == 2
