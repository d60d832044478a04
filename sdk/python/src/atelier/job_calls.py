"""Jobs: ordered, watched, fetched."""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from atelier.calls import Calls, new_request_id, timestamp
from atelier.connection import resumed, stream_broken
from atelier.job_states import image_came, image_is_finished, job_is_finished, job_needs_nobody
from atelier.names import child_name
from atelier.pages import entries_of_pages
from atelier.pictures import (
    ImagesFailedError,
    Picture,
    VerifiedDownload,
    join_chunks,
    save_chunks,
)
from atelier.v1.image_pb2 import Image, ImageSpec, PictureFile, Tier
from atelier.v1.job_service_pb2 import (
    CancelJobRequest,
    CreateJobRequest,
    DownloadImageRequest,
    DownloadImageResponse,
    GetImageRequest,
    GetJobRequest,
    ImageFilter,
    Job,
    JobFilter,
    JobSpec,
    ListImagesRequest,
    ListImagesResponse,
    ListJobsRequest,
    ListJobsResponse,
    RetryFailedImagesRequest,
    WatchJobRequest,
    WatchJobResponse,
)
from atelier.v1.job_service_pb2_grpc import JobServiceStub
from atelier.v1.money_pb2 import Money

if TYPE_CHECKING:
    from atelier.v1.job_service_pb2_grpc import JobServiceAsyncStub

# A job's entry: a prompt alone, what decides one picture, or that with a count.
SpecLike = str | ImageSpec | JobSpec


class JobOptions(TypedDict, total=False):
    """What a job can say besides its specs."""

    display_name: str
    tier: "Tier.ValueType"
    project: str
    labels: Mapping[str, str]
    # The job is refused if its ceiling is above this.
    max_cost: Money
    # `tenants/{tenant}/webhookEndpoints/{endpoint}`.
    webhook: str
    # What is not finished by then fails and is not charged.
    deadline_time: datetime
    # Give your own to be able to send the same wish again later; else each call is a new wish.
    request_id: str


class JobCalls(Calls):
    """The calls of JobService."""

    async def order_job(self, specs: Iterable[SpecLike], **options: Unpack[JobOptions]) -> Job:
        """Order pictures. The answer's `hold` is the most the job can cost."""
        return await self._send_job(specs, options, validate_only=False)

    async def quote_job(self, specs: Iterable[SpecLike], **options: Unpack[JobOptions]) -> Job:
        """Ask what would happen: ceiling, blocked prompts, expected finish. Nothing is stored."""
        return await self._send_job(specs, options, validate_only=True)

    async def get_job(self, job: str) -> Job:
        request = GetJobRequest(name=self._name("jobs", job))
        return await self._connection.call(self._jobs().GetJob, request)

    def list_jobs(
        self, job_filter: JobFilter | None = None, *, page_size: int = 0
    ) -> AsyncGenerator[Job, None]:
        """Yield jobs, newest first."""

        def fetch(page_token: str) -> Awaitable[ListJobsResponse]:
            return self.jobs_page(job_filter, page_size=page_size, page_token=page_token)

        return entries_of_pages(fetch, lambda page: page.jobs)

    async def jobs_page(
        self, job_filter: JobFilter | None = None, *, page_size: int = 0, page_token: str = ""
    ) -> ListJobsResponse:
        """Return one page of jobs, newest first, for whoever leafs through them."""
        request = ListJobsRequest(
            parent=self._parent(), page_size=page_size, page_token=page_token, filter=job_filter
        )
        return await self._connection.call(self._jobs().ListJobs, request)

    async def cancel_job(self, job: str) -> Job:
        """Cancel what is not finished; what is being drawn stops one step later."""
        request = CancelJobRequest(name=self._name("jobs", job))
        return await self._connection.call(self._jobs().CancelJob, request)

    async def retry_failed_images(self, job: str, *, request_id: str | None = None) -> Job:
        """Order what failed in a finished job once more, as a new job."""
        request = RetryFailedImagesRequest(
            name=self._name("jobs", job), request_id=new_request_id(request_id)
        )
        return await self._connection.call(self._jobs().RetryFailedImages, request)

    async def watch_job(
        self, job: str, *, previews: bool = False, resume_token: str = ""
    ) -> AsyncGenerator[WatchJobResponse, None]:
        """Yield a job's news until it is finished, over as many connections as it takes.

        Signs of life are left out. To go on later, keep the `resume_token` of the last news.
        """
        newest_token = resume_token
        finished = False

        async def stream() -> AsyncGenerator[WatchJobResponse, None]:
            request = WatchJobRequest(
                name=self._name("jobs", job), resume_token=newest_token, previews=previews
            )
            news = self._connection.stream(self._jobs().WatchJob, request)
            async with contextlib.aclosing(news):
                async for one in news:
                    yield one
            if not finished:
                raise stream_broken("the server ended the stream before the job ended")

        all_news = resumed(stream, retry_policy=self._connection.retry_policy)
        async with contextlib.aclosing(all_news):
            async for news in all_news:
                newest_token = news.resume_token or newest_token
                finished = finished or (news.HasField("job") and job_is_finished(news.job))
                if not news.HasField("keep_alive"):
                    yield news

    async def finished_images(self, job: str) -> AsyncGenerator[Image, None]:
        """Yield each image of a job once, as it finishes; end when nothing more happens by itself.

        Quarantined images are not among them: they wait for a person.
        """
        told: set[str] = set()
        watch = self.watch_job(job)
        async with contextlib.aclosing(watch):
            async for news in watch:
                if news.HasField("image") and image_is_finished(news.image):
                    if news.image.name not in told:
                        told.add(news.image.name)
                        yield news.image
                elif news.HasField("job") and job_needs_nobody(news.job):
                    break
        # What had ended before the stream began, such as a blocked prompt, may have made no news.
        async for image in self.list_images(job):
            if image_is_finished(image) and image.name not in told:
                yield image

    async def wait_for_job(self, job: str) -> Job:
        """Wait until nothing more happens by itself: finished, or waiting for a review."""
        watch = self.watch_job(job)
        async with contextlib.aclosing(watch):
            async for news in watch:
                if news.HasField("job") and job_needs_nobody(news.job):
                    return news.job
        return await self.get_job(job)

    def list_images(
        self, job: str, image_filter: ImageFilter | None = None, *, page_size: int = 0
    ) -> AsyncGenerator[Image, None]:
        """Yield the images of a job in the order they were asked for."""

        def fetch(page_token: str) -> Awaitable[ListImagesResponse]:
            return self.images_page(job, image_filter, page_size=page_size, page_token=page_token)

        return entries_of_pages(fetch, lambda page: page.images)

    async def images_page(
        self,
        job: str,
        image_filter: ImageFilter | None = None,
        *,
        page_size: int = 0,
        page_token: str = "",
    ) -> ListImagesResponse:
        """Return one page of a job's images, for whoever leafs through them."""
        request = ListImagesRequest(
            parent=self._name("jobs", job),
            page_size=page_size,
            page_token=page_token,
            filter=image_filter,
        )
        return await self._connection.call(self._jobs().ListImages, request)

    async def get_image(self, image: str, *, job: str = "") -> Image:
        """Get one image by its name, or by its id and its job's."""
        request = GetImageRequest(name=self._image_name(image, job))
        return await self._connection.call(self._jobs().GetImage, request)

    async def download_image(self, image: str, *, job: str = "") -> bytes:
        """Fetch a picture's bytes, checked against their hash."""
        return await join_chunks(
            self._picture_chunks(self._image_name(image, job), VerifiedDownload())
        )

    async def save_image(self, image: str, path: Path, *, job: str = "") -> PictureFile:
        """Fetch a picture into a file, checked against its hash; the file is whole or absent."""
        download = VerifiedDownload()
        chunks = self._picture_chunks(self._image_name(image, job), download)
        async with contextlib.aclosing(chunks):
            await save_chunks(chunks, path)
        return download.finish()

    async def generate(
        self, prompt: str | ImageSpec, *, count: int = 1, **options: Unpack[JobOptions]
    ) -> list[Picture]:
        """Draw pictures now and return them; interactive unless `tier` says otherwise.

        Raises:
            ImagesFailedError: some did not come; it holds those that did.
        """
        image = ImageSpec(prompt=prompt) if isinstance(prompt, str) else prompt
        options.setdefault("tier", Tier.TIER_INTERACTIVE)
        job = await self.order_job([JobSpec(image=image, count=count)], **options)
        pictures: list[Picture] = []
        failed_images: list[Image] = []
        async for finished in self.finished_images(job.name):
            if image_came(finished):
                data = await self.download_image(finished.name)
                pictures.append(Picture(image=finished, data=data))
            else:
                failed_images.append(finished)
        pictures.sort(key=lambda picture: picture.image.image_number)
        if len(pictures) < job.image_count:
            raise ImagesFailedError(pictures=pictures, failed_images=failed_images)
        return pictures

    async def _send_job(
        self, specs: Iterable[SpecLike], options: JobOptions, *, validate_only: bool
    ) -> Job:
        request = CreateJobRequest(
            parent=self._parent(),
            job=Job(
                display_name=options.get("display_name", ""),
                specs=job_specs(specs),
                tier=options.get("tier", Tier.TIER_UNSPECIFIED),
                project=options.get("project", ""),
                labels=options.get("labels"),
                max_cost=options.get("max_cost"),
                webhook=options.get("webhook", ""),
                deadline_time=timestamp(options.get("deadline_time")),
            ),
            request_id=new_request_id(options.get("request_id")),
            validate_only=validate_only,
        )
        return await self._connection.call(self._jobs().CreateJob, request)

    async def _picture_chunks(
        self, name: str, download: VerifiedDownload
    ) -> AsyncGenerator[bytes, None]:
        def stream() -> AsyncGenerator[DownloadImageResponse, None]:
            request = DownloadImageRequest(name=name, read_offset=download.byte_count)
            return self._connection.stream(self._jobs().DownloadImage, request)

        parts = resumed(stream, retry_policy=self._connection.retry_policy)
        async with contextlib.aclosing(parts):
            async for part in parts:
                if part.HasField("file"):
                    download.take_file(part.file)
                else:
                    download.take_chunk(part.chunk)
                    yield part.chunk
        download.finish()

    def _image_name(self, image: str, job: str) -> str:
        if "/" in image:
            return image
        if not job:
            raise ValueError("an image's id needs its job's; or give the image's whole name")
        return f"{child_name('jobs', job, tenant=self._tenant)}/images/{image}"

    def _jobs(self) -> "JobServiceAsyncStub":
        return JobServiceStub(self._connection.channel)


def job_specs(specs: Iterable[SpecLike]) -> Sequence[JobSpec]:
    """Write a job's entries as the contract has them."""
    return [_job_spec(spec) for spec in specs]


def _job_spec(spec: SpecLike) -> JobSpec:
    if isinstance(spec, JobSpec):
        return spec
    image = ImageSpec(prompt=spec) if isinstance(spec, str) else spec
    return JobSpec(image=image, count=1)
