"""ModelService: what there is to draw with."""

from typing import Any

import grpc.aio

from atelier.v1 import image_pb2, model_service_pb2, model_service_pb2_grpc
from database.pool import Pool, tenant_transaction
from services.gateway import resource_names
from services.gateway.acceptance import tenant_of_caller
from services.gateway.callers import Caller, current_caller
from services.gateway.errors import not_found
from services.gateway.job_plan import allowed_catalogue
from services.gateway.page_tokens import PageTokens
from services.gateway.pages import PageRequest
from services.jobs.model_catalogue import Model, ModelCatalogue

_Context = grpc.aio.ServicerContext[Any, Any]


class ModelService(model_service_pb2_grpc.ModelServiceServicer):
    """Serves the calls of ModelService."""

    def __init__(self, *, pool: Pool, catalogue: ModelCatalogue, page_tokens: PageTokens) -> None:
        self._pool = pool
        self._catalogue = catalogue
        self._page_tokens = page_tokens

    async def ListModels(
        self, request: model_service_pb2.ListModelsRequest, context: _Context
    ) -> model_service_pb2.ListModelsResponse:
        caller = current_caller()
        allowed = await self._allowed(caller)
        pages = PageRequest(request, scope=caller.tenant_id, tokens=self._page_tokens)
        first = int(pages.position[0]) if pages.position else 0
        numbered = list(enumerate(allowed, start=1))[first : first + pages.limit]
        page = pages.page(numbered, position=lambda row: (str(row[0]),))
        return model_service_pb2.ListModelsResponse(
            models=[_model_message(allowed, model_id) for _, model_id in page.rows],
            next_page_token=page.next_page_token,
        )

    async def GetModel(
        self, request: model_service_pb2.GetModelRequest, context: _Context
    ) -> model_service_pb2.Model:
        parsed = resource_names.MODEL.parse(request.name)
        allowed = await self._allowed(current_caller())
        if parsed is None or parsed[0] not in allowed:
            raise not_found(request.name)
        return _model_message(allowed, parsed[0])

    async def _allowed(self, caller: Caller) -> ModelCatalogue:
        if caller.is_operator:
            return self._catalogue
        async with tenant_transaction(self._pool, caller.tenant_id) as conn:
            tenant = await tenant_of_caller(conn, caller)
        return allowed_catalogue(self._catalogue, tenant.allowed_models)


def _model_message(allowed: ModelCatalogue, model_id: str) -> model_service_pb2.Model:
    model: Model = allowed[model_id]
    size = model_service_pb2.ImageSize(width=model.width.default, height=model.height.default)
    return model_service_pb2.Model(
        name=resource_names.MODEL.write(model_id),
        display_name=model.display_name,
        default_model=model_id == next(iter(allowed)),
        native_sizes=[size],
        # The contract speaks of one range for both sides: what holds for either.
        side_pixels_min=max(model.width.min, model.height.min),
        side_pixels_max=min(model.width.max, model.height.max),
        image_pixels_max=model.pixels_max,
        num_inference_steps_min=model.num_inference_steps.min,
        num_inference_steps_max=model.num_inference_steps.max,
        num_inference_steps_default=model.num_inference_steps.default,
        guidance_scale_default=model.guidance_scale.default,
        max_sequence_length_default=model.max_sequence_length.default,
        max_sequence_length_max=model.max_sequence_length.max,
        precision=model.precision,
        output_formats=[
            image_pb2.OUTPUT_FORMAT_PNG,
            image_pb2.OUTPUT_FORMAT_JPEG,
            image_pb2.OUTPUT_FORMAT_WEBP,
        ],
    )
