"""JobService: batches of images, ordered, watched, fetched."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, Final

import grpc.aio

from atelier.v1 import image_pb2, job_service_pb2, job_service_pb2_grpc
from database.pool import Connection, Pool, tenant_transaction
from metering.usage_records import get_receipts
from services.gateway import resource_names
from services.gateway.acceptance import (
    Wish,
    check_balance,
    check_budgets,
    quote,
    tenant_of_caller,
)
from services.gateway.backlogs import read_backlogs
from services.gateway.callers import Caller, current_caller
from services.gateway.conversions import enum_text, to_datetime, to_money
from services.gateway.errors import invalid_state, not_found
from services.gateway.job_messages import image_message
from services.gateway.job_plan import draw_seed
from services.gateway.job_watch import JobWatch
from services.gateway.job_wishes import wish_of_job, wish_of_retry
from services.gateway.once import once_key
from services.gateway.orders import JobOrders, find_job, job_messages, read_job_message
from services.gateway.page_tokens import PageTokens, Position
from services.gateway.pages import PageRequest
from services.gateway.pictures import PictureReader
from services.gateway.scopes import ImageName, JobName, named_image, named_job, named_tenant
from services.jobs import cancellation, job_store
from services.jobs.image_states import TERMINAL_JOB_STATES, ImageState, JobState
from services.jobs.model_catalogue import ModelCatalogue
from services.jobs.records import Image, ImageProgress, Job
from tenants.ids import ImageId, JobId, TenantId

_Context = grpc.aio.ServicerContext[Any, Any]
_IMAGES_PER_JOB_MAX: Final = 1000


class JobService(job_service_pb2_grpc.JobServiceServicer):
    """Serves the calls of JobService."""

    def __init__(
        self,
        *,
        pool: Pool,
        catalogue: ModelCatalogue,
        orders: JobOrders,
        watch: JobWatch,
        pictures: PictureReader,
        page_tokens: PageTokens,
        now: Callable[[], datetime],
    ) -> None:
        self._pool = pool
        self._catalogue = catalogue
        self._orders = orders
        self._watch = watch
        self._pictures = pictures
        self._page_tokens = page_tokens
        self._now = now

    async def CreateJob(
        self, request: job_service_pb2.CreateJobRequest, context: _Context
    ) -> job_service_pb2.Job:
        caller = current_caller()
        tenant_id = named_tenant(caller, request.parent)
        if request.validate_only:
            return await self._quote(request, caller)
        return await self._orders.order(
            once_key(request, scope=resource_names.TENANT.write(tenant_id)),
            caller,
            lambda conn: self._wish(conn, request, caller),
        )

    async def GetJob(
        self, request: job_service_pb2.GetJobRequest, context: _Context
    ) -> job_service_pb2.Job:
        name = named_job(current_caller(), request.name)
        async with tenant_transaction(self._pool, name.tenant_id) as conn:
            return await read_job_message(conn, name)

    async def ListJobs(
        self, request: job_service_pb2.ListJobsRequest, context: _Context
    ) -> job_service_pb2.ListJobsResponse:
        tenant_id = named_tenant(current_caller(), request.parent)
        pages = PageRequest(request, scope=tenant_id, tokens=self._page_tokens)
        async with tenant_transaction(self._pool, tenant_id) as conn:
            jobs = await _listed_jobs(conn, tenant_id, request.filter, pages)
            page = pages.page(jobs, position=_job_position)
            messages = await job_messages(conn, tenant_id, page.rows)
        return job_service_pb2.ListJobsResponse(jobs=messages, next_page_token=page.next_page_token)

    async def CancelJob(
        self, request: job_service_pb2.CancelJobRequest, context: _Context
    ) -> job_service_pb2.Job:
        name = named_job(current_caller(), request.name)
        async with tenant_transaction(self._pool, name.tenant_id) as conn:
            if not await cancellation.cancel_job(conn, name.job_id):
                raise not_found(name.text)
            return await read_job_message(conn, name)

    async def WatchJob(
        self, request: job_service_pb2.WatchJobRequest, context: _Context
    ) -> AsyncIterator[job_service_pb2.WatchJobResponse]:
        name = named_job(current_caller(), request.name)
        news = self._watch.follow(
            name, resume_token=request.resume_token, previews=request.previews
        )
        async with aclosing(news):
            async for response in news:
                yield response

    async def ListImages(
        self, request: job_service_pb2.ListImagesRequest, context: _Context
    ) -> job_service_pb2.ListImagesResponse:
        name = named_job(current_caller(), request.parent)
        pages = PageRequest(request, scope=name.text, tokens=self._page_tokens)
        async with tenant_transaction(self._pool, name.tenant_id) as conn:
            if await find_job(conn, name) is None:
                raise not_found(name.text)
            images = await _listed_images(conn, name, request.filter, pages)
            page = pages.page(images, position=lambda image: (str(image.image_number),))
            messages = await image_messages(conn, name, page.rows)
        return job_service_pb2.ListImagesResponse(
            images=messages, next_page_token=page.next_page_token
        )

    async def GetImage(
        self, request: job_service_pb2.GetImageRequest, context: _Context
    ) -> image_pb2.Image:
        name = named_image(current_caller(), request.name)
        async with tenant_transaction(self._pool, name.job.tenant_id) as conn:
            image = await _existing_image(conn, name)
            return (await image_messages(conn, name.job, [image]))[0]

    async def DownloadImage(
        self, request: job_service_pb2.DownloadImageRequest, context: _Context
    ) -> AsyncIterator[job_service_pb2.DownloadImageResponse]:
        name = named_image(current_caller(), request.name)
        async with tenant_transaction(self._pool, name.job.tenant_id) as conn:
            image = await _existing_image(conn, name)
        file, chunks = await self._pictures.open(image, read_offset=request.read_offset)
        yield job_service_pb2.DownloadImageResponse(file=file)
        async for chunk in chunks:
            yield job_service_pb2.DownloadImageResponse(chunk=chunk)

    async def RetryFailedImages(
        self, request: job_service_pb2.RetryFailedImagesRequest, context: _Context
    ) -> job_service_pb2.Job:
        caller = current_caller()
        name = named_job(caller, request.name)
        return await self._orders.order(
            once_key(request, scope=name.text), caller, lambda conn: _retry_wish(conn, name, caller)
        )

    async def _quote(
        self, request: job_service_pb2.CreateJobRequest, caller: Caller
    ) -> job_service_pb2.Job:
        """Tell what CreateJob would do, and store nothing."""
        async with tenant_transaction(self._pool, caller.tenant_id) as conn:
            wish = await self._wish(conn, request, caller)
            tenant = await tenant_of_caller(conn, caller)
            quoted = await quote(conn, tenant, wish, now=self._now())
            await check_budgets(conn, wish, caller=caller, needed_nanos=quoted.total_nanos)
            await check_balance(conn, tenant, quoted.total_nanos)
            backlogs = await read_backlogs(conn, tenant.tenant_id)
        expected = backlogs.forecast_of_new(
            [image.kind for image in wish.images], tier=wish.tier, now=self._now()
        )
        answer = job_service_pb2.Job()
        answer.CopyFrom(request.job)
        answer.ClearField("specs")
        answer.project = wish.project
        answer.image_count = len(wish.images)
        answer.hold.CopyFrom(to_money(quoted.total_nanos, quoted.price.currency))
        answer.queue_position = expected.queue_position
        if expected.finish_time is not None:
            answer.estimated_finish_time.FromDatetime(expected.finish_time)
        answer.price_version = resource_names.PRICE_VERSION.write(quoted.price.price_id)
        return answer

    async def _wish(
        self, conn: Connection, request: job_service_pb2.CreateJobRequest, caller: Caller
    ) -> Wish:
        return wish_of_job(
            request.job,
            caller=caller,
            tenant=await tenant_of_caller(conn, caller),
            catalogue=self._catalogue,
            draw_seed=draw_seed,
            now=self._now(),
        )


async def image_messages(
    conn: Connection, name: JobName, images: Sequence[Image]
) -> list[image_pb2.Image]:
    """Write images with their receipts and progress."""
    receipts = await get_receipts(
        conn,
        tenant_id=name.tenant_id,
        image_ids=[image.image_id for image in images if image.state is ImageState.SUCCEEDED],
    )
    progress: dict[ImageId, ImageProgress] = {}
    if any(image.state is ImageState.RUNNING for image in images):
        rows = await job_store.progress_of_job(conn, tenant_id=name.tenant_id, job_id=name.job_id)
        progress = {row.image_id: row for row in rows}
    return [
        image_message(
            image, receipt=receipts.get(image.image_id), progress=progress.get(image.image_id)
        )
        for image in images
    ]


async def _existing_image(conn: Connection, name: ImageName) -> Image:
    image = await job_store.get_image(
        conn, tenant_id=name.job.tenant_id, job_id=name.job.job_id, image_id=name.image_id
    )
    if image is None:
        raise not_found(name.text)
    return image


async def _listed_jobs(
    conn: Connection,
    tenant_id: TenantId,
    wanted: job_service_pb2.JobFilter,
    pages: PageRequest,
) -> list[Job]:
    return await job_store.list_jobs(
        conn,
        tenant_id=tenant_id,
        limit=pages.limit,
        before=_position_before(pages.position),
        states=[JobState(enum_text(job_service_pb2.JobState, state)) for state in wanted.states]
        or None,
        project=wanted.project or None,
        labels=wanted.labels,
        start_time=to_datetime(wanted.start_time, field="filter.start_time")
        if wanted.HasField("start_time")
        else None,
        end_time=to_datetime(wanted.end_time, field="filter.end_time")
        if wanted.HasField("end_time")
        else None,
    )


async def _listed_images(
    conn: Connection,
    name: JobName,
    wanted: job_service_pb2.ImageFilter,
    pages: PageRequest,
) -> list[Image]:
    return await job_store.list_images(
        conn,
        tenant_id=name.tenant_id,
        job_id=name.job_id,
        limit=pages.limit,
        after_number=int(pages.position[0]) if pages.position else 0,
        states=[ImageState(enum_text(image_pb2.ImageState, state)) for state in wanted.states]
        or None,
        client_ref=wanted.client_ref or None,
        labels=wanted.labels,
    )


def _job_position(job: Job) -> Position:
    return (job.create_time.isoformat(), job.job_id)


def _position_before(position: Position | None) -> tuple[datetime, JobId] | None:
    if position is None:
        return None
    create_time, job_id = position
    return datetime.fromisoformat(create_time), JobId(job_id)


async def _retry_wish(conn: Connection, name: JobName, caller: Caller) -> Wish:
    job = await find_job(conn, name)
    if job is None:
        raise not_found(name.text)
    if job.state not in TERMINAL_JOB_STATES:
        raise invalid_state(
            f"the job is {job.state}: only an ended one is retried", state=job.state
        )
    failed = await job_store.list_images(
        conn,
        tenant_id=name.tenant_id,
        job_id=name.job_id,
        limit=_IMAGES_PER_JOB_MAX,
        states=[ImageState.FAILED],
    )
    if not failed:
        raise invalid_state("no image of the job failed", state=job.state)
    return wish_of_retry(job, failed, caller=caller)
