"""The meter as a process: real sockets, real gRPC, the worker's own client."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections import defaultdict
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from time import monotonic_ns, sleep
from typing import Any

import grpc
import pytest
from grpc import aio

from services.engine.image_spec import AttemptKey
from services.engine.marks import Mark, MarkKind
from services.internal.v1 import meter_pb2, meter_pb2_grpc, recorder_pb2, recorder_pb2_grpc
from services.transport.callees import socket_callee
from services.worker.meter_client import MeterClient
from tenants.ids import GpuId, ImageId, SessionId
from tenants.run_directory import RunDirectory

pytestmark = pytest.mark.integration

WORK = recorder_pb2.SEGMENT_KIND_WORK
LOAD = recorder_pb2.SEGMENT_KIND_LOAD
PARKED = recorder_pb2.SEGMENT_KIND_PARKED
SILENT = recorder_pb2.SEGMENT_KIND_SILENT
FREE = recorder_pb2.SEGMENT_KIND_FREE
UNKNOWN = recorder_pb2.SEGMENT_KIND_UNKNOWN


class MemoryRecorder(recorder_pb2_grpc.RecorderServiceServicer):
    """Keeps segments as the real one does: once, in number order, by epoch."""

    def __init__(self) -> None:
        self.segments: dict[tuple[str, int], list[recorder_pb2.EnergySegment]] = defaultdict(list)
        self.first: dict[tuple[str, int], int] = {}
        self.last: dict[tuple[str, int], recorder_pb2.RecordSegmentsRequest] = {}

    async def RecordSegments(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        request: recorder_pb2.RecordSegmentsRequest,
        context: aio.ServicerContext[Any, Any],
    ) -> recorder_pb2.RecordSegmentsResponse:
        key = (request.gpu_id, request.epoch)
        stored = self.segments[key]
        new = [segment for segment in request.segments if segment.number > len(stored)]
        if new and new[0].number == len(stored) + 1:
            stored += new
            self.first.setdefault(key, request.start_reading.millijoules)
            self.last[key] = request
        return recorder_pb2.RecordSegmentsResponse(last_number=len(stored))

    async def GetLastReading(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        request: recorder_pb2.GetLastReadingRequest,
        context: aio.ServicerContext[Any, Any],
    ) -> recorder_pb2.GetLastReadingResponse:
        epochs = [epoch for gpu, epoch in self.last if gpu == request.gpu_id]
        if not epochs:
            return recorder_pb2.GetLastReadingResponse()
        last = self.last[request.gpu_id, max(epochs)]
        return recorder_pb2.GetLastReadingResponse(
            epoch=last.epoch,
            last_number=last.segments[-1].number,
            reading=last.end_reading,
            source=last.segments[-1].source,
        )

    def of(self, gpu_id: str, epoch: int = 1) -> list[recorder_pb2.EnergySegment]:
        return self.segments.get((gpu_id, epoch), [])

    def kinds(self, gpu_id: str, epoch: int = 1) -> list[int]:
        return [segment.kind for segment in self.of(gpu_id, epoch)]

    def residual(self, gpu_id: str, epoch: int = 1) -> int:
        key = (gpu_id, epoch)
        counted = self.last[key].end_reading.millijoules - self.first[key]
        return counted - sum(segment.millijoules for segment in self.segments[key])


@pytest.fixture
def run_directory(short_directory: Path) -> RunDirectory:
    for tenant, gpu in (("acme", "cpu-0"), ("zeta", "cpu-0"), ("zeta", "cpu-1")):
        (short_directory / "tenants" / tenant / gpu).mkdir(parents=True)
    return RunDirectory(short_directory)


async def serve(recorder: MemoryRecorder, run_directory: RunDirectory) -> aio.Server:
    server = aio.server()
    recorder_pb2_grpc.add_RecorderServiceServicer_to_server(recorder, server)
    server.add_insecure_port(f"unix:{run_directory.recorder_meter_socket}")
    await server.start()
    return server


@pytest.fixture
async def recorder(run_directory: RunDirectory) -> AsyncGenerator[MemoryRecorder]:
    recorder = MemoryRecorder()
    server = await serve(recorder, run_directory)
    yield recorder
    await server.stop(grace=None)


def start_meter(run_directory: RunDirectory) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "services.meter"],
        env={
            **os.environ,
            "ATELIER_METER_RUN_DIRECTORY": str(run_directory.path),
            "ATELIER_METER_USE_GPUS": "false",
        },
    )


@pytest.fixture
def meter(
    run_directory: RunDirectory, recorder: MemoryRecorder
) -> Generator[subprocess.Popen[bytes]]:
    process = start_meter(run_directory)
    yield process
    process.kill()
    process.wait()


async def until(condition: Any, *, seconds: float = 15.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


async def stopped(meter: subprocess.Popen[bytes]) -> int:
    meter.send_signal(signal.SIGTERM)
    return await asyncio.to_thread(meter.wait, 10)


def worker_of(run_directory: RunDirectory, *, session: str = "session-1") -> MeterClient:
    client = MeterClient(
        meter=socket_callee(run_directory.marks_socket("acme", "cpu-0")),
        session_id=SessionId(session),
        gpu_id=GpuId("cpu-0"),
    )
    client.start()
    return client


class Engine:
    """Marks as the engine makes them, around work that takes the given time."""

    def __init__(self, client: MeterClient) -> None:
        self._client = client
        self.number = 0

    def work(self, kind: MarkKind, seconds: float, *images: str, burn: bool = False) -> None:
        start_nanos = monotonic_ns()
        self._client.begin(kind, start_nanos)
        while burn and monotonic_ns() - start_nanos < seconds * 1e9:
            pass
        if not burn:
            sleep(seconds)
        self.number += 1
        work = tuple((AttemptKey(ImageId(image), 1), 10.0) for image in images)
        self._client.end(
            Mark(
                number=self.number,
                kind=kind,
                start_nanos=start_nanos,
                end_nanos=monotonic_ns(),
                work=work,
            )
        )


async def test_marks_become_segments_within_a_moment_and_every_joule_is_booked(
    run_directory: RunDirectory, recorder: MemoryRecorder, meter: subprocess.Popen[bytes]
) -> None:
    await until(run_directory.marks_socket("acme", "cpu-0").exists)
    client = worker_of(run_directory)
    engine = Engine(client)
    with ThreadPoolExecutor(1) as engine_thread:
        loop = asyncio.get_running_loop()

        def draw() -> None:
            engine.work(MarkKind.LOAD, 0.5)
            for _ in range(60):
                engine.work(MarkKind.STEP, 0.01, "cat", "dog", burn=True)
            engine.work(MarkKind.VAE_DECODE, 0.35, "cat")

        await loop.run_in_executor(engine_thread, draw)
    ended_nanos = monotonic_ns()
    await until(lambda: any(s.last_mark_number >= engine.number for s in recorder.of("cpu-0")))
    waited_seconds = (monotonic_ns() - ended_nanos) / 1e9
    await asyncio.to_thread(client.close)

    exit_status = await stopped(meter)

    assert exit_status == 0
    assert waited_seconds < 1.5
    segments = recorder.of("cpu-0")
    assert recorder.residual("cpu-0") == 0
    assert all(before.end_time == after.start_time for before, after in pairwise(segments))
    assert {segment.source for segment in segments} == {recorder_pb2.READING_SOURCE_ESTIMATED}
    assert LOAD in recorder.kinds("cpu-0")
    assert segments[-1].kind == FREE
    worked = [segment for segment in segments if segment.kind == WORK]
    assert all(segment.tenant_id == "acme" for segment in worked)
    assert all(
        sum(share.millijoules for share in segment.shares) == segment.millijoules
        for segment in worked
    )
    assert {share.image_id for segment in worked for share in segment.shares} == {"cat", "dog"}
    # 0.6 s of a busy thread take 2.1 J in the model; the process's other threads add some.
    assert 1_000 < sum(segment.millijoules for segment in worked) < 10_000


async def test_a_killed_workers_time_is_overhead_and_the_device_is_free_again(
    run_directory: RunDirectory, recorder: MemoryRecorder, meter: subprocess.Popen[bytes]
) -> None:
    await until(run_directory.marks_socket("acme", "cpu-0").exists)
    program = f"""
        from pathlib import Path
        from time import monotonic_ns, sleep
        from services.engine.marks import MarkKind
        from services.transport.callees import socket_callee
        from services.worker.meter_client import MeterClient
        client = MeterClient(
            meter=socket_callee(Path({str(run_directory.marks_socket("acme", "cpu-0"))!r})),
            session_id="killed",
            gpu_id="cpu-0",
        )
        client.start()
        sleep(1)
        client.begin(MarkKind.STEP, monotonic_ns())
        print("drawing", flush=True)
        sleep(60)
    """
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(program), stdout=subprocess.PIPE
    )
    assert worker.stdout is not None
    await worker.stdout.readline()
    await asyncio.sleep(0.6)

    worker.kill()
    await worker.wait()
    await asyncio.sleep(3.2)
    exit_status = await stopped(meter)

    assert exit_status == 0
    assert recorder.residual("cpu-0") == 0
    kinds = recorder.kinds("cpu-0")
    assert kinds[-3:] == [PARKED, SILENT, FREE]
    silent = recorder.of("cpu-0")[-2]
    seconds = (silent.end_time.ToDatetime() - silent.start_time.ToDatetime()).total_seconds()
    assert 0.4 < seconds < 2.0
    assert silent.tenant_id == "acme"


async def test_a_recorder_that_was_away_gets_everything(
    run_directory: RunDirectory,
) -> None:
    recorder = MemoryRecorder()
    server = await serve(recorder, run_directory)
    meter = start_meter(run_directory)
    try:
        await until(run_directory.marks_socket("acme", "cpu-0").exists)
        client = worker_of(run_directory)
        engine = Engine(client)
        await asyncio.to_thread(engine.work, MarkKind.STEP, 0.2, "cat")
        await until(lambda: WORK in recorder.kinds("cpu-0"))
        await server.stop(grace=None)
        await asyncio.to_thread(engine.work, MarkKind.STEP, 0.2, "dog")
        await asyncio.sleep(1.0)
        server = await serve(recorder, run_directory)
        await until(lambda: any(s.last_mark_number == 2 for s in recorder.of("cpu-0")))
        await asyncio.to_thread(client.close)
        exit_status = await stopped(meter)
    finally:
        meter.kill()
        meter.wait()
        await server.stop(grace=None)

    assert exit_status == 0
    assert recorder.residual("cpu-0") == 0
    numbers = [segment.number for segment in recorder.of("cpu-0")]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_the_time_a_meter_was_down_is_unknown_and_the_worker_finds_the_next_one(
    run_directory: RunDirectory, recorder: MemoryRecorder, meter: subprocess.Popen[bytes]
) -> None:
    await until(run_directory.marks_socket("acme", "cpu-0").exists)
    client = worker_of(run_directory)
    engine = Engine(client)
    await asyncio.to_thread(engine.work, MarkKind.STEP, 0.2, "cat")
    await until(lambda: WORK in recorder.kinds("cpu-0"))
    meter.kill()
    meter.wait()
    await asyncio.sleep(0.5)

    second = start_meter(run_directory)
    try:
        await until(lambda: client_is_heard(recorder, engine))
        await asyncio.to_thread(client.close)
        exit_status = await stopped(second)
    finally:
        second.kill()
        second.wait()

    assert exit_status == 0
    assert recorder.kinds("cpu-0", 2)[0] == UNKNOWN
    assert recorder.of("cpu-0", 2)[0].start_time == recorder.of("cpu-0", 1)[-1].end_time
    assert recorder.residual("cpu-0", 2) == 0


def client_is_heard(recorder: MemoryRecorder, engine: Engine) -> bool:
    """Draw until a mark arrives in the second epoch."""
    engine.work(MarkKind.STEP, 0.1, "dog")
    return WORK in recorder.kinds("cpu-0", 2)


async def test_what_a_worker_must_not_say_is_refused(
    run_directory: RunDirectory, recorder: MemoryRecorder, meter: subprocess.Popen[bytes]
) -> None:
    await until(run_directory.marks_socket("zeta", "cpu-0").exists)
    await until(run_directory.marks_socket("acme", "cpu-0").exists)
    client = worker_of(run_directory)
    await asyncio.sleep(0.5)

    endless = meter_pb2.Mark(number=1, kind=meter_pb2.MARK_KIND_STEP, start_nanos=5, end_nanos=6)
    endless.work.add(image_id="cat", attempt=1, units=float("inf"))
    negative = meter_pb2.Mark(number=1, kind=meter_pb2.MARK_KIND_STEP, start_nanos=5, end_nanos=6)
    negative.work.add(image_id="cat", attempt=1, units=-1.0)
    unstorable = meter_pb2.Mark(number=1, kind=meter_pb2.MARK_KIND_STEP, start_nanos=5, end_nanos=6)
    unstorable.work.add(image_id="cat\0", attempt=1, units=1.0)
    codes = [
        await answer_to(run_directory, meter_pb2.MarkRequest(session_id="s", marks=[mark]), tenant)
        for mark, tenant in (
            (endless, "acme"),
            (negative, "acme"),
            (unstorable, "acme"),
            (meter_pb2.Mark(number=1, kind=meter_pb2.MARK_KIND_STEP, start_nanos=9), "acme"),
            (meter_pb2.Mark(number=0, start_nanos=5, end_nanos=6), "acme"),
        )
    ]
    nameless = await answer_to(run_directory, meter_pb2.MarkRequest(), "acme")
    foreign = await answer_to(run_directory, meter_pb2.MarkRequest(session_id="z"), "zeta")
    await asyncio.to_thread(client.close)

    assert codes == [grpc.StatusCode.INVALID_ARGUMENT] * 5
    assert nameless == grpc.StatusCode.INVALID_ARGUMENT
    assert foreign == grpc.StatusCode.FAILED_PRECONDITION


async def answer_to(
    run_directory: RunDirectory, request: meter_pb2.MarkRequest, tenant: str
) -> grpc.StatusCode:
    socket = run_directory.marks_socket(tenant, "cpu-0")
    async with aio.insecure_channel(f"unix:{socket}") as channel:
        stub = meter_pb2_grpc.MeterServiceStub(channel)
        try:
            await stub.Mark(iter([request]))
        except aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


async def test_a_directory_that_appears_gets_a_door_and_one_that_goes_loses_it(
    run_directory: RunDirectory, recorder: MemoryRecorder, meter: subprocess.Popen[bytes]
) -> None:
    new = run_directory.gpu_directory("nova", "cpu-3")
    await until(run_directory.marks_socket("acme", "cpu-0").exists)

    new.mkdir(parents=True)
    await until((new / "meter.sock").is_socket)
    # It is bound first and gets its mode right after.
    await until(lambda: (new / "meter.sock").stat().st_mode & 0o777 == 0o660)
    (new / "meter.sock").unlink()
    await until((new / "meter.sock").is_socket)
