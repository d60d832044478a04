"""ImageService: one picture while somebody waits for it; a job of one behind the scenes."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc.aio

from atelier.v1 import image_service_pb2, image_service_pb2_grpc, job_service_pb2
from database.pool import Connection, Pool, tenant_transaction
from metering.price_document import Tier
from services.gateway import resource_names
from services.gateway.acceptance import Wish, tenant_of_caller
from services.gateway.attendance import Attendance
from services.gateway.callers import Caller, current_caller
from services.gateway.job_messages import image_message_at
from services.gateway.job_plan import PlannedImage, allowed_catalogue, draw_seed, plan_one_image
from services.gateway.job_watch import JobWatch
from services.gateway.once import once_key
from services.gateway.orders import JobOrders
from services.gateway.pictures import PictureReader
from services.gateway.scopes import JobName, named_job, named_tenant
from services.jobs import job_store
from services.jobs.image_states import ImageState
from services.jobs.model_catalogue import ModelCatalogue
from services.jobs.records import Image

_Context = grpc.aio.ServicerContext[Any, Any]


class ImageService(image_service_pb2_grpc.ImageServiceServicer):
    """Serves the calls of ImageService."""

    def __init__(
        self,
        *,
        pool: Pool,
        catalogue: ModelCatalogue,
        orders: JobOrders,
        watch: JobWatch,
        pictures: PictureReader,
        attendance: Attendance,
    ) -> None:
        self._pool = pool
        self._catalogue = catalogue
        self._orders = orders
        self._watch = watch
        self._pictures = pictures
        self._attendance = attendance

    async def GenerateImage(
        self, request: image_service_pb2.GenerateImageRequest, context: _Context
    ) -> AsyncIterator[image_service_pb2.GenerateImageResponse]:
        caller = current_caller()
        tenant_id = named_tenant(caller, request.parent)
        job = await self._orders.order(
            once_key(request, scope=resource_names.TENANT.write(tenant_id)),
            caller,
            lambda conn: self._wish(conn, request, caller),
        )
        name = named_job(caller, job.name)
        async with self._attendance.attended(name):
            # An idle worker may have claimed it already; the news that follow tell of that.
            accepted = image_message_at(await self._image(name), ImageState.QUEUED, receipt=None)
            yield image_service_pb2.GenerateImageResponse(image=accepted)
            news = self._watch.follow(name, resume_token="", previews=request.previews)
            async with aclosing(news):
                async for item in news:
                    response = _response(item)
                    if response is not None:
                        yield response
            async for response in self._picture(name):
                yield response

    async def _picture(
        self, name: JobName
    ) -> AsyncIterator[image_service_pb2.GenerateImageResponse]:
        image = await self._image(name)
        if image.picture is None:
            return
        file, chunks = await self._pictures.open(image, read_offset=0)
        yield image_service_pb2.GenerateImageResponse(file=file)
        async for chunk in chunks:
            yield image_service_pb2.GenerateImageResponse(chunk=chunk)

    async def _image(self, name: JobName) -> Image:
        async with tenant_transaction(self._pool, name.tenant_id) as conn:
            images = await job_store.list_images(
                conn, tenant_id=name.tenant_id, job_id=name.job_id, limit=1
            )
        return images[0]

    async def _wish(
        self,
        conn: Connection,
        request: image_service_pb2.GenerateImageRequest,
        caller: Caller,
    ) -> Wish:
        tenant = await tenant_of_caller(conn, caller)
        image: PlannedImage = plan_one_image(
            request.spec,
            path="spec",
            catalogue=self._catalogue,
            allowed=allowed_catalogue(self._catalogue, tenant.allowed_models),
            output_format=tenant.default_output_format,
            draw_seed=draw_seed,
        )
        return Wish(
            display_name="",
            tier=Tier.INTERACTIVE,
            project=request.project or caller.project,
            labels={},
            images=(image,),
            max_cost_nanos=request.max_cost.nanos if request.HasField("max_cost") else None,
            max_cost_currency=request.max_cost.currency_code,
            deadline_time=None,
            max_cost_field="max_cost",
        )


def _response(
    news: job_service_pb2.WatchJobResponse,
) -> image_service_pb2.GenerateImageResponse | None:
    """Pass on what concerns the one image; the job around it is no news here."""
    match news.WhichOneof("news"):
        case "image":
            return image_service_pb2.GenerateImageResponse(image=news.image)
        case "progress":
            return image_service_pb2.GenerateImageResponse(progress=news.progress)
        case "keep_alive":
            return image_service_pb2.GenerateImageResponse(keep_alive=news.keep_alive)
        case _:
            return None
