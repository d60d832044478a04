"""One picture while somebody waits for it, and the models there are."""

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from atelier.calls import Calls, new_request_id
from atelier.connection import resumed
from atelier.names import top_name
from atelier.pages import entries_of_pages
from atelier.v1.image_pb2 import ImageSpec
from atelier.v1.image_service_pb2 import GenerateImageRequest, GenerateImageResponse
from atelier.v1.image_service_pb2_grpc import ImageServiceStub
from atelier.v1.model_service_pb2 import (
    GetModelRequest,
    ListModelsRequest,
    ListModelsResponse,
    Model,
)
from atelier.v1.model_service_pb2_grpc import ModelServiceStub
from atelier.v1.money_pb2 import Money

if TYPE_CHECKING:
    from atelier.v1.model_service_pb2_grpc import ModelServiceAsyncStub


class ImageCalls(Calls):
    """The calls of ImageService and ModelService."""

    def stream_image(
        self,
        spec: ImageSpec,
        *,
        previews: bool = True,
        max_cost: Money | None = None,
        project: str = "",
        request_id: str | None = None,
    ) -> AsyncGenerator[GenerateImageResponse, None]:
        """Draw one picture and yield its news, previews and bytes on one stream.

        Whoever stops listening cancels it after ten seconds. After a broken connection the picture
        is told anew from where it is: a `file` message always begins its bytes.
        """
        request = GenerateImageRequest(
            parent=self._parent(),
            spec=spec,
            request_id=new_request_id(request_id),
            previews=previews,
            max_cost=max_cost,
            project=project,
        )

        def stream() -> AsyncGenerator[GenerateImageResponse, None]:
            images = ImageServiceStub(self._connection.channel)
            return self._connection.stream(images.GenerateImage, request)

        return resumed(stream, retry_policy=self._connection.retry_policy)

    def list_models(self) -> AsyncGenerator[Model, None]:
        """Yield the models the tenant may use, the default first."""

        async def fetch(page_token: str) -> ListModelsResponse:
            return await self._connection.call(
                self._models().ListModels, ListModelsRequest(page_token=page_token)
            )

        return entries_of_pages(fetch, lambda page: page.models)

    async def get_model(self, model: str) -> Model:
        request = GetModelRequest(name=top_name("models", model))
        return await self._connection.call(self._models().GetModel, request)

    def _models(self) -> "ModelServiceAsyncStub":
        return ModelServiceStub(self._connection.channel)
