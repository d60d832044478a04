"""A server in this process that speaks the contract over a socket, as scripted by a test."""

import hashlib
from collections import deque
from collections.abc import AsyncIterator
from typing import Any as AnyValue

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2  # pyright: ignore[reportMissingTypeStubs]

from atelier.v1 import job_service_pb2 as wire
from atelier.v1.image_pb2 import Image, ImageState, PictureFile
from atelier.v1.job_service_pb2_grpc import JobServiceServicer, add_JobServiceServicer_to_server
from atelier.v1.money_pb2 import Money

PICTURE = bytes(range(256)) * 1000
JOB = "tenants/acme/jobs/j1"
CEILING = Money(currency_code="EUR", nanos=20_000_000)
IMAGE = f"{JOB}/images/i1"
FILE = PictureFile(
    content_type="image/png",
    byte_count=len(PICTURE),
    sha256=hashlib.sha256(PICTURE).hexdigest(),
)


class Refusal(Exception):  # noqa: N818 - scripted, not raised by us
    """An answer that is not OK."""

    def __init__(self, code: grpc.StatusCode, reason: str, *, retry_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.code = code
        self.rich = status_pb2.Status(code=code.value[0], message=reason)
        self._add(error_details_pb2.ErrorInfo(reason=reason, domain="atelier"))
        if retry_seconds:
            delay = Duration()
            delay.FromMilliseconds(round(1000 * retry_seconds))
            self._add(error_details_pb2.RetryInfo(retry_delay=delay))

    def _add(self, detail: Message) -> None:
        packed = Any()
        packed.Pack(detail)
        self.rich.details.append(packed)


class SmallJobService(JobServiceServicer):
    """Answers what was scripted and keeps what was asked."""

    def __init__(self) -> None:
        self.requests: list[Message] = []
        self.authorizations: list[str] = []
        # Refusals that come before the first proper answer.
        self.refusals: deque[Refusal] = deque()
        # Each stream of WatchJob gives one of these, then breaks, but the last one ends properly.
        self.watch_parts: deque[list[wire.WatchJobResponse]] = deque()
        self.images: list[Image] = [finished_image("i1")]
        self.picture = PICTURE
        # Bytes after which a download breaks, once.
        self.break_download_after: int | None = None

    async def CreateJob(self, request: wire.CreateJobRequest, context: AnyValue) -> wire.Job:
        await self._take(request, context)
        count = sum(spec.count for spec in request.job.specs)
        if request.validate_only:
            return wire.Job(image_count=count, hold=CEILING)
        return wire.Job(name=JOB, image_count=count, state=wire.JobState.JOB_STATE_QUEUED)

    async def GetJob(self, request: wire.GetJobRequest, context: AnyValue) -> wire.Job:
        await self._take(request, context)
        return finished_job(len(self.images))

    async def ListJobs(
        self, request: wire.ListJobsRequest, context: AnyValue
    ) -> wire.ListJobsResponse:
        await self._take(request, context)
        return wire.ListJobsResponse(jobs=[finished_job(1)])

    async def ListImages(
        self, request: wire.ListImagesRequest, context: AnyValue
    ) -> wire.ListImagesResponse:
        await self._take(request, context)
        return wire.ListImagesResponse(images=self.images)

    async def WatchJob(
        self, request: wire.WatchJobRequest, context: AnyValue
    ) -> AsyncIterator[wire.WatchJobResponse]:
        await self._take(request, context)
        for news in self.watch_parts.popleft():
            yield news
        if self.watch_parts:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "broken")

    async def DownloadImage(
        self, request: wire.DownloadImageRequest, context: AnyValue
    ) -> AsyncIterator[wire.DownloadImageResponse]:
        await self._take(request, context)
        yield wire.DownloadImageResponse(file=FILE)
        rest = self.picture[request.read_offset :]
        if self.break_download_after is not None:
            rest, self.break_download_after = rest[: self.break_download_after], None
            yield wire.DownloadImageResponse(chunk=rest)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "broken")
        for start in range(0, len(rest), 65536):
            yield wire.DownloadImageResponse(chunk=rest[start : start + 65536])

    async def _take(self, request: Message, context: AnyValue) -> None:
        self.requests.append(request)
        self.authorizations.append(dict(context.invocation_metadata())["authorization"])
        if self.refusals:
            refusal = self.refusals.popleft()
            details = (("grpc-status-details-bin", refusal.rich.SerializeToString()),)
            await context.abort(refusal.code, refusal.rich.message, details)


async def serve(service: SmallJobService) -> tuple[grpc.aio.Server, str]:
    """Start a server on a free port; return it and its address."""
    server = grpc.aio.server()
    add_JobServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, f"127.0.0.1:{port}"


def finished_job(image_count: int) -> wire.Job:
    return wire.Job(
        name=JOB,
        image_count=image_count,
        succeeded_count=image_count,
        state=wire.JobState.JOB_STATE_SUCCEEDED,
    )


def finished_image(
    image_id: str, state: "ImageState.ValueType" = ImageState.IMAGE_STATE_SUCCEEDED
) -> Image:
    return Image(name=f"{JOB}/images/{image_id}", image_number=1, state=state, file=FILE)
