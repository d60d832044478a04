"""FleetService: the GPUs of this installation. For operators only."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import grpc.aio

from atelier.v1 import fleet_service_pb2, fleet_service_pb2_grpc
from database.pool import Connection, Pool, transaction
from metering.energy_hours import GpuHour, StoredHour, knows_gpu, stored_hours
from services.gateway import gpus, resource_names
from services.gateway.conversions import to_datetime, to_timestamp
from services.gateway.draining import Drain
from services.gateway.errors import not_found
from services.gateway.gpu_messages import (
    gpu_message,
    policy_message,
    warning_about,
    worker_message,
)
from services.gateway.gpus import GpuRow
from services.gateway.job_messages import energy_source_number
from services.gateway.page_tokens import PageTokens, Position
from services.gateway.pages import PageRequest
from services.gateway.resource_names import NamePattern
from tenants.ids import GpuId

_Context = grpc.aio.ServicerContext[Any, Any]
# In place of a GPU's id.
_ALL = "-"
# As often as the fleet writes what the sensors say.
_WATCH_SECONDS = 1.0


class FleetService(fleet_service_pb2_grpc.FleetServiceServicer):
    """Serves the calls of FleetService."""

    def __init__(self, *, operator_pool: Pool, page_tokens: PageTokens, drain: Drain) -> None:
        self._operator_pool = operator_pool
        self._page_tokens = page_tokens
        self._drain = drain

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

    async def ListGpus(
        self, request: fleet_service_pb2.ListGpusRequest, context: _Context
    ) -> fleet_service_pb2.ListGpusResponse:
        pages = PageRequest(request, scope=_ALL, tokens=self._page_tokens)
        after = pages.position[0] if pages.position else ""
        async with transaction(self._operator_pool) as conn:
            rows = await gpus.list_gpus(conn, after=after, limit=pages.limit)
        page = pages.page(rows, position=lambda gpu: (gpu.gpu_id,))
        return fleet_service_pb2.ListGpusResponse(
            gpus=[gpu_message(row) for row in page.rows], next_page_token=page.next_page_token
        )

    async def WatchGpus(
        self, request: fleet_service_pb2.WatchGpusRequest, context: _Context
    ) -> AsyncIterator[fleet_service_pb2.WatchGpusResponse]:
        gpu_id = _named_gpu(request.parent)
        while True:
            self._drain.refuse_if_begun()
            async with transaction(self._operator_pool) as conn:
                rows = await _watched(conn, gpu_id)
            if not rows and gpu_id is not None:
                raise not_found(request.parent)
            yield fleet_service_pb2.WatchGpusResponse(gpus=[gpu_message(row) for row in rows])
            await asyncio.sleep(_WATCH_SECONDS)

    async def ListWorkers(
        self, request: fleet_service_pb2.ListWorkersRequest, context: _Context
    ) -> fleet_service_pb2.ListWorkersResponse:
        pages = PageRequest(request, scope=_ALL, tokens=self._page_tokens)
        after = pages.position[0] if pages.position else ""
        async with transaction(self._operator_pool) as conn:
            rows = await gpus.list_workers(conn, after=after, limit=pages.limit)
        page = pages.page(rows, position=lambda worker: (worker.gpu_id,))
        return fleet_service_pb2.ListWorkersResponse(
            workers=[worker_message(row) for row in page.rows],
            next_page_token=page.next_page_token,
            warning=warning_about(page.rows),
        )

    async def DrainWorker(
        self, request: fleet_service_pb2.DrainWorkerRequest, context: _Context
    ) -> fleet_service_pb2.Gpu:
        gpu_id = _id_in(resource_names.WORKER, request.name)
        keep_empty_seconds = request.keep_empty.ToTimedelta().total_seconds()
        async with transaction(self._operator_pool) as conn:
            await gpus.wish_drain(conn, gpu_id, keep_empty_seconds=keep_empty_seconds)
            gpu = await gpus.get_gpu(conn, gpu_id)
        if gpu is None:
            raise not_found(request.name)
        return gpu_message(gpu)

    async def SetPowerPolicy(
        self, request: fleet_service_pb2.SetPowerPolicyRequest, context: _Context
    ) -> fleet_service_pb2.PowerPolicy:
        wanted = request.power_policy
        gpu_id = _id_in(resource_names.POWER_POLICY, wanted.name)
        async with transaction(self._operator_pool) as conn:
            policy = await gpus.set_power_policy(
                conn,
                gpu_id,
                temperature_celsius_max=wanted.temperature_celsius_max,
                duty_cycle_max=wanted.duty_cycle_max,
            )
        if policy is None:
            raise not_found(wanted.name)
        return policy_message(policy)


async def _watched(conn: Connection, gpu_id: GpuId | None) -> list[GpuRow]:
    if gpu_id is None:
        return await gpus.present_gpus(conn)
    gpu = await gpus.get_gpu(conn, gpu_id)
    return [] if gpu is None else [gpu]


def _id_in(pattern: NamePattern, name: str) -> str:
    parsed = pattern.parse(name)
    if parsed is None:
        raise not_found(name)
    return parsed[0]


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
