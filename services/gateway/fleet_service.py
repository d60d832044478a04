"""FleetService: the GPUs of this installation. For operators only."""

from datetime import datetime
from typing import Any

import grpc.aio

from atelier.v1 import fleet_service_pb2, fleet_service_pb2_grpc
from database.pool import Pool, transaction
from metering.energy_hours import GpuHour, StoredHour, knows_gpu, stored_hours
from services.gateway import resource_names
from services.gateway.conversions import to_datetime, to_timestamp
from services.gateway.errors import not_found
from services.gateway.job_messages import energy_source_number
from services.gateway.page_tokens import PageTokens, Position
from services.gateway.pages import PageRequest
from tenants.ids import GpuId

_Context = grpc.aio.ServicerContext[Any, Any]
# In place of a GPU's id.
_ALL = "-"


class FleetService(fleet_service_pb2_grpc.FleetServiceServicer):
    """Serves the calls of FleetService."""

    def __init__(self, *, operator_pool: Pool, page_tokens: PageTokens) -> None:
        self._operator_pool = operator_pool
        self._page_tokens = page_tokens

    async def GetEnergyReconciliation(
        self, request: fleet_service_pb2.GetEnergyReconciliationRequest, context: _Context
    ) -> fleet_service_pb2.GetEnergyReconciliationResponse:
        gpu_id = _named_gpu(request.parent)
        pages = PageRequest(request, scope=gpu_id or _ALL, tokens=self._page_tokens)
        start_time, end_time = _times(request)
        async with transaction(self._operator_pool) as conn:
            if gpu_id is not None and not await knows_gpu(conn, gpu_id):
                raise not_found(request.parent)
            hours = await stored_hours(
                conn,
                gpu_id=gpu_id,
                start_time=start_time,
                end_time=end_time,
                after=_after(pages.position),
                limit=pages.limit,
            )
        page = pages.page(
            hours, position=lambda hour: (hour.gpu_id, hour.hour_start_time.isoformat())
        )
        return fleet_service_pb2.GetEnergyReconciliationResponse(
            energy_reconciliations=[_hour_message(hour) for hour in page.rows],
            next_page_token=page.next_page_token,
        )


def _named_gpu(name: str) -> GpuId | None:
    """Read `gpus/{gpu}`; None for all of them."""
    parsed = resource_names.GPU.parse(name)
    if parsed is None:
        raise not_found(name)
    return None if parsed[0] == _ALL else GpuId(parsed[0])


def _times(
    request: fleet_service_pb2.GetEnergyReconciliationRequest,
) -> tuple[datetime | None, datetime | None]:
    return (
        to_datetime(request.start_time, field="start_time")
        if request.HasField("start_time")
        else None,
        to_datetime(request.end_time, field="end_time") if request.HasField("end_time") else None,
    )


def _after(position: Position | None) -> GpuHour | None:
    if position is None:
        return None
    gpu_id, hour = position
    return GpuHour(GpuId(gpu_id), datetime.fromisoformat(hour))


def _hour_message(hour: StoredHour) -> fleet_service_pb2.EnergyReconciliation:
    return fleet_service_pb2.EnergyReconciliation(
        gpu=resource_names.GPU.write(hour.gpu_id),
        hour_start_time=to_timestamp(hour.hour_start_time),
        counter_millijoules=hour.counter_millijoules,
        images_millijoules=hour.images_millijoules,
        overhead_millijoules=hour.overhead_millijoules,
        in_progress_millijoules=hour.in_progress_millijoules,
        parked_millijoules=hour.parked_millijoules,
        free_millijoules=hour.free_millijoules,
        load_millijoules=hour.load_millijoules,
        unknown_millijoules=hour.unknown_millijoules,
        residual_millijoules=hour.residual_millijoules,
        energy_source=energy_source_number(hour.weakest_source),
        segment_count=hour.segment_count,
        sealed=hour.seal_time is not None,
        seal_time=to_timestamp(hour.seal_time),
        update_time=to_timestamp(hour.update_time),
    )
