"""The meter over TCP: workers and the fleet in pods; the caller's certificate says which it is.

A worker says which device it was given, because no directory does here. One of another tenant finds
the device taken; whoever takes one that nobody is on, pays for what it draws.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
import structlog
from grpc import aio

from services.internal.v1 import meter_pb2, meter_pb2_grpc
from services.meter.device_service import DeviceService
from services.meter.mark_service import NO_DEVICE, MarkService
from services.meter.metered_gpu import MeteredGpu
from services.transport.callers import WorkerCalls, require_role
from services.transport.identities import ProcessRole
from tenants.ids import GpuId

Context = aio.ServicerContext[Any, Any]

log = structlog.get_logger()


class CertifiedService(meter_pb2_grpc.MeterServiceServicer):
    """Hands each call to the side of the meter that the caller has a right to."""

    def __init__(
        self,
        *,
        gpus: Mapping[GpuId, MeteredGpu],
        devices: DeviceService,
        boot_id: str,
        streams_per_tenant_max: int,
    ) -> None:
        self._gpus = gpus
        self._devices = devices
        self._boot_id = boot_id
        self._calls = WorkerCalls(per_tenant_max=streams_per_tenant_max)

    async def Mark(  # pyright: ignore[reportIncompatibleMethodOverride] - asynchronous
        self, request_iterator: AsyncIterator[meter_pb2.MarkRequest], context: Context
    ) -> meter_pb2.MarkResponse:
        async with self._calls.one(context) as tenant_id:
            requests = aiter(request_iterator)
            first = await anext(requests, None)
            if first is None:
                return meter_pb2.MarkResponse()
            gpu = await self._gpu_of(first, context)
            return await MarkService(gpu, tenant_id).Mark(_from(first, requests), context)

    async def ListDevices(  # pyright: ignore[reportIncompatibleMethodOverride] - asynchronous
        self, request: meter_pb2.ListDevicesRequest, context: Context
    ) -> meter_pb2.ListDevicesResponse:
        await require_role(context, ProcessRole.FLEET)
        return await self._devices.ListDevices(request, context)

    async def _gpu_of(self, first: meter_pb2.MarkRequest, context: Context) -> MeteredGpu:
        if first.boot_id != self._boot_id:
            log.warning("marks_of_another_host", session=first.session_id)
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                "the worker is on another host, or did not say on which: its clock is not ours",
            )
        gpu = self._gpus.get(GpuId(first.gpu_id))
        if gpu is None:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, NO_DEVICE)
        if not gpu.is_started:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the device is not metered yet")
        return gpu


async def _from(
    first: meter_pb2.MarkRequest, others: AsyncIterator[meter_pb2.MarkRequest]
) -> AsyncIterator[meter_pb2.MarkRequest]:
    yield first
    async for request in others:
        yield request
