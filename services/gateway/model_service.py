"""ModelService: what there is to draw with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc.aio

from atelier.v1 import image_pb2, model_service_pb2, model_service_pb2_grpc
from database.pool import Pool, tenant_transaction
from services.gateway import resource_names
from services.gateway.acceptance import tenant_of_caller
from services.gateway.callers import Caller, current_caller
from services.gateway.conversions import to_timestamp
from services.gateway.errors import not_found
from services.gateway.job_messages import energy_source_number
from services.gateway.job_plan import allowed_catalogue
from services.gateway.model_measurements import MeasuredKind, measured_kinds
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
        offer = await self._offer(caller)
        pages = PageRequest(request, scope=caller.tenant_id, tokens=self._page_tokens)
        first = int(pages.position[0]) if pages.position else 0
        numbered = list(enumerate(offer.models, start=1))[first : first + pages.limit]
        page = pages.page(numbered, position=lambda row: (str(row[0]),))
        return model_service_pb2.ListModelsResponse(
            models=[_model_message(offer, model_id) for _, model_id in page.rows],
            next_page_token=page.next_page_token,
        )

    async def GetModel(
        self, request: model_service_pb2.GetModelRequest, context: _Context
    ) -> model_service_pb2.Model:
        parsed = resource_names.MODEL.parse(request.name)
        offer = await self._offer(current_caller())
        if parsed is None or parsed[0] not in offer.models:
            raise not_found(request.name)
        return _model_message(offer, parsed[0])

    async def _offer(self, caller: Caller) -> "_Offer":
        if caller.is_operator:
            return _Offer(models=self._catalogue, measured=())
        async with tenant_transaction(self._pool, caller.tenant_id) as conn:
            tenant = await tenant_of_caller(conn, caller)
            measured = await measured_kinds(conn, tenant.tenant_id)
        models = allowed_catalogue(self._catalogue, tenant.allowed_models)
        return _Offer(models=models, measured=measured)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Offer:
    """The models a caller may use, and what was measured on its own images."""

    models: ModelCatalogue
    measured: Sequence[MeasuredKind]


def _model_message(offer: _Offer, model_id: str) -> model_service_pb2.Model:
    model: Model = offer.models[model_id]
    size = model_service_pb2.ImageSize(width=model.width.default, height=model.height.default)
    return model_service_pb2.Model(
        name=resource_names.MODEL.write(model_id),
        display_name=model.display_name,
        default_model=model_id == next(iter(offer.models)),
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
        backend=model.backend,
        output_formats=[
            image_pb2.OUTPUT_FORMAT_PNG,
            image_pb2.OUTPUT_FORMAT_JPEG,
            image_pb2.OUTPUT_FORMAT_WEBP,
        ],
        measurements=[
            _measurement_message(measured)
            for measured in offer.measured
            if measured.model == model_id
        ],
    )


def _measurement_message(measured: MeasuredKind) -> model_service_pb2.Measurement:
    return model_service_pb2.Measurement(
        size=model_service_pb2.ImageSize(width=measured.width, height=measured.height),
        num_inference_steps=measured.num_inference_steps,
        device=measured.device,
        precision=measured.precision,
        image_count=measured.image_count,
        seconds_per_image=measured.seconds,
        energy_millijoules_per_image=measured.energy_millijoules,
        energy_source=energy_source_number(measured.energy_source),
        measure_time=to_timestamp(measured.measure_time),
    )
