"""The recorder over TCP: one server for all; the caller's certificate says what it is offered.

On one host the socket says who calls, here the certificate; behind both are the same servicers.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from grpc import aio

from services.internal.v1 import recorder_pb2, recorder_pb2_grpc
from services.recorder.gateway_service import PictureService
from services.recorder.meter_service import MeterIntake
from services.recorder.tenant_service import TenantService
from services.transport.callers import WorkerCalls, require_role
from services.transport.identities import ProcessRole
from tenants.ids import TenantId

Context = aio.ServicerContext[Any, Any]


class CertifiedService(recorder_pb2_grpc.RecorderServiceServicer):
    """Hands each call to the side of the recorder that the caller has a right to."""

    def __init__(
        self,
        *,
        service_of: Callable[[TenantId], TenantService],
        intake: MeterIntake,
        pictures: PictureService,
        calls_per_tenant_max: int,
    ) -> None:
        self._service_of = service_of
        self._intake = intake
        self._pictures = pictures
        self._tenants: dict[TenantId, TenantService] = {}
        self._calls = WorkerCalls(per_tenant_max=calls_per_tenant_max)

    async def Attend(  # pyright: ignore[reportIncompatibleMethodOverride] - asynchronous
        self, request_iterator: AsyncIterator[recorder_pb2.AttendRequest], context: Context
    ) -> AsyncIterator[recorder_pb2.AttendResponse]:
        async with self._tenant_of(context) as tenant:
            async for truth in tenant.Attend(request_iterator, context):
                yield truth

    async def ClaimImage(  # pyright: ignore[reportIncompatibleMethodOverride] - asynchronous
        self, request: recorder_pb2.ClaimImageRequest, context: Context
    ) -> recorder_pb2.ClaimImageResponse:
        async with self._tenant_of(context) as tenant:
            return await tenant.ClaimImage(request, context)

    async def FinishImage(  # pyright: ignore[reportIncompatibleMethodOverride] - asynchronous
        self, request_iterator: AsyncIterator[recorder_pb2.FinishImageRequest], context: Context
    ) -> recorder_pb2.FinishImageResponse:
        async with self._tenant_of(context) as tenant:
            return await tenant.FinishImage(request_iterator, context)

    async def RecordSegments(  # pyright: ignore[reportIncompatibleMethodOverride] - asynchronous
        self, request: recorder_pb2.RecordSegmentsRequest, context: Context
    ) -> recorder_pb2.RecordSegmentsResponse:
        await require_role(context, ProcessRole.METER)
        return await self._intake.RecordSegments(request, context)

    async def GetLastReading(  # pyright: ignore[reportIncompatibleMethodOverride] - asynchronous
        self, request: recorder_pb2.GetLastReadingRequest, context: Context
    ) -> recorder_pb2.GetLastReadingResponse:
        await require_role(context, ProcessRole.METER)
        return await self._intake.GetLastReading(request, context)

    async def ReadPicture(  # pyright: ignore[reportIncompatibleMethodOverride] - asynchronous
        self, request: recorder_pb2.ReadPictureRequest, context: Context
    ) -> AsyncIterator[recorder_pb2.ReadPictureResponse]:
        await require_role(context, ProcessRole.GATEWAY)
        async for chunk in self._pictures.ReadPicture(request, context):
            yield chunk

    async def ProbeStorage(  # pyright: ignore[reportIncompatibleMethodOverride] - asynchronous
        self, request: recorder_pb2.ProbeStorageRequest, context: Context
    ) -> recorder_pb2.ProbeStorageResponse:
        await require_role(context, ProcessRole.GATEWAY)
        return await self._pictures.ProbeStorage(request, context)

    @asynccontextmanager
    async def _tenant_of(self, context: Context) -> AsyncGenerator[TenantService]:
        async with self._calls.one(context) as tenant_id:
            if tenant_id not in self._tenants:
                self._tenants[tenant_id] = self._service_of(tenant_id)
            yield self._tenants[tenant_id]
