"""The meter over TCP: two tenants' marks through one server to the recorder; whom it refuses."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from secrets import token_hex
from time import monotonic_ns

import grpc
import pytest

from services.engine.image_spec import AttemptKey
from services.engine.marks import Mark, MarkKind
from services.fleet.errors import MeterUnavailableError
from services.fleet.meter_client import MeterClient as FleetsClient
from services.internal.v1 import meter_pb2, meter_pb2_grpc
from services.transport.callees import Callee
from services.transport.channels import open_channel
from services.transport.hosts import read_boot_id
from services.transport.identities import ProcessRole
from services.worker.meter_client import MeterClient
from tenants.ids import GpuId, SessionId, gpu_id_of
from tests.integration.installation import Studio, eventually, spec
from tests.integration.services.recorder.session import Session, drawn
from tests.integration.services.transport.conftest import Place, system_uri, worker_uri
from tests.integration.services.transport.metered_host import MeteredHost, metered_host

pytestmark = pytest.mark.integration

STEP_NANOS = 20_000_000


def fresh_gpu_id() -> GpuId:
    return gpu_id_of(f"GPU-{token_hex(4)}-{token_hex(2)}-0000-0000-000000000000")


async def draw(host: MeteredHost, studio: Studio, gpu_id: GpuId) -> tuple[object, object]:
    """Draw an image as a worker does; returns its joules in segments and on its usage line."""
    await studio.accept(spec())
    recorder = await host.place.caller(worker_uri(studio.tenant_id))
    meter = host.caller(worker_uri(studio.tenant_id))
    with closing(Session(recorder, gpu_id=gpu_id)) as session:
        marks = MeterClient(meter=meter, session_id=SessionId(session.session_id), gpu_id=gpu_id)
        async with started(marks):
            held = (await session.claim()).held
            begin_nanos = monotonic_ns()
            marks.begin(MarkKind.STEP, begin_nanos)
            await asyncio.sleep(STEP_NANOS / 1e9)
            marks.end(
                Mark(
                    number=1,
                    kind=MarkKind.STEP,
                    start_nanos=begin_nanos,
                    end_nanos=monotonic_ns(),
                    work=((AttemptKey(held.image_id, held.attempt), 1.0),),
                )
            )

            async def metered() -> bool | None:
                rows = await studio.rows(
                    "SELECT 1 FROM energy_segments WHERE gpu_id = %s AND last_mark_number = 1",
                    gpu_id,
                )
                return bool(rows) or None

            await eventually(metered, what="the segment of the mark")
            assert await session.finish(replace(drawn(held), last_mark_number=1))
    (row,) = await studio.rows(
        "SELECT energy_millijoules, (SELECT sum(millijoules)::bigint FROM energy_shares"
        " WHERE image_id = usage_records.image_id) AS shares"
        " FROM usage_records WHERE image_id = %s",
        held.image_id,
    )
    return row["shares"], row["energy_millijoules"]


async def test_two_tenants_marks_become_joules_of_their_images(
    place: Place, studios: tuple[Studio, Studio]
) -> None:
    gpu_ids = fresh_gpu_id(), fresh_gpu_id()
    async with metered_host(place, *gpu_ids) as host:
        for studio, gpu_id in zip(studios, gpu_ids, strict=True):
            in_segments, on_usage = await draw(host, studio, gpu_id)

            assert in_segments == on_usage
            assert isinstance(on_usage, int)
            assert on_usage > 0
            owners = await studio.rows(
                "SELECT DISTINCT tenant_id FROM energy_segments"
                " WHERE gpu_id = %s AND kind = 'WORK'",
                gpu_id,
            )
            assert owners == [{"tenant_id": studio.tenant_id}]


@asynccontextmanager
async def started(marks: MeterClient) -> AsyncGenerator[None]:
    """Closed beside the event loop, on which the meter answers the good-bye."""
    marks.start()
    try:
        yield
    finally:
        await asyncio.to_thread(marks.close)


def refusal(meter: Callee, **said: str) -> grpc.StatusCode:
    """How a stream is answered that begins with this and says nothing more."""
    request = meter_pb2.MarkRequest(
        session_id="s",
        watermark_nanos=monotonic_ns(),
        gpu_id=said.get("gpu_id", ""),
        boot_id=said.get("boot_id", read_boot_id()),
    )
    with open_channel(meter) as channel:
        try:
            meter_pb2_grpc.MeterServiceStub(channel).Mark(iter([request]), timeout=30)
        except grpc.RpcError as error:
            return error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
    return grpc.StatusCode.OK


async def test_marks_of_another_host_or_of_no_device_here_are_refused(place: Place) -> None:
    gpu_id = fresh_gpu_id()
    async with metered_host(place, gpu_id) as host:
        meter = host.caller(worker_uri("a-studio"))
        answers = {
            name: await asyncio.to_thread(refusal, meter, **said)
            for name, said in {
                "ours": {"gpu_id": gpu_id},
                "another host": {"gpu_id": gpu_id, "boot_id": "another"},
                "no host": {"gpu_id": gpu_id, "boot_id": ""},
                "another device": {"gpu_id": "gpu-0"},
                "no device": {},
            }.items()
        }

    unfit = grpc.StatusCode.FAILED_PRECONDITION
    assert answers == {
        "ours": grpc.StatusCode.OK,
        "another host": unfit,
        "no host": unfit,
        "another device": unfit,
        "no device": unfit,
    }


async def test_a_device_that_a_tenant_is_on_is_taken_for_another(place: Place) -> None:
    gpu_id = fresh_gpu_id()
    async with metered_host(place, gpu_id) as host:
        marks = MeterClient(
            meter=host.caller(worker_uri("a-studio")),
            session_id=SessionId("first"),
            gpu_id=gpu_id,
        )
        other = host.caller(worker_uri("b-studio"))
        async with started(marks):

            async def taken() -> bool | None:
                code = await asyncio.to_thread(refusal, other, gpu_id=gpu_id)
                return True if code is grpc.StatusCode.FAILED_PRECONDITION else None

            assert await eventually(taken, what="a device that is taken")


async def test_each_role_has_its_own_calls_of_the_meter(place: Place) -> None:
    gpu_id = fresh_gpu_id()
    async with metered_host(place, gpu_id) as host:
        async with FleetsClient(host.caller(system_uri(ProcessRole.FLEET))) as fleet:
            listed = [gpu.gpu_id for gpu in await fleet.list_gpus()]
        async with FleetsClient(host.caller(worker_uri("a-studio"))) as worker:
            with pytest.raises(MeterUnavailableError, match="PERMISSION_DENIED"):
                await worker.list_gpus()
        marks_of_fleet = await asyncio.to_thread(
            refusal, host.caller(system_uri(ProcessRole.FLEET)), gpu_id=gpu_id
        )

    assert listed == [gpu_id]
    assert marks_of_fleet is grpc.StatusCode.PERMISSION_DENIED
