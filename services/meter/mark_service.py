"""The call a worker tells its marks through; tenant and device are those of the socket."""

import asyncio
from collections.abc import AsyncIterable
from typing import Any, Final

import grpc
import structlog
from grpc import aio

from metering import presence
from metering.errors import DeviceTakenError
from services.internal.v1 import meter_pb2, meter_pb2_grpc
from services.meter.conversions import marks_of, session_of
from services.meter.errors import MarksInvalidError
from services.meter.metered_gpu import MeteredGpu
from tenants.ids import SessionId, TenantId

# How long after the end of a stream gRPC may take to tell that its connection broke.
_BREAK_SECONDS: Final = 0.1
# One answer for both: who names devices at random learns neither which there are nor who is on one.
NO_DEVICE: Final = "there is no such device here, or a worker of another tenant is on it"

log = structlog.get_logger()


class MarkService(meter_pb2_grpc.MeterServiceServicer):
    """Serves the one socket of a (tenant, device)."""

    def __init__(self, gpu: MeteredGpu, tenant_id: TenantId) -> None:
        self._gpu = gpu
        self._tenant_id = tenant_id

    async def Mark(  # pyright: ignore[reportIncompatibleMethodOverride] - asynchronous
        self,
        request_iterator: AsyncIterable[meter_pb2.MarkRequest],
        context: aio.ServicerContext[Any, Any],
    ) -> meter_pb2.MarkResponse:
        """Take a worker's marks until it says good-bye or the stream breaks."""
        session_id: SessionId | None = None
        refused_count = 0
        is_orderly = False
        try:
            async for request in request_iterator:
                # Checked before anything is believed, the arrival included.
                marks = marks_of(request)
                if session_id is None:
                    session_id = self._welcome(request, marks)
                refused_count += self._gpu.hear(
                    session_id, marks, watermark_nanos=request.watermark_nanos
                )
            # A broken connection ends the iteration too, and cancels this call a moment later.
            await asyncio.sleep(_BREAK_SECONDS)
            is_orderly = True
        except MarksInvalidError as error:
            log.warning(
                "marks_invalid",
                tenant=self._tenant_id,
                gpu=self._gpu.device.gpu_id,
                reason=str(error),
            )
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except DeviceTakenError as error:
            log.warning(
                "device_taken",
                tenant=self._tenant_id,
                gpu=self._gpu.device.gpu_id,
                reason=str(error),
            )
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, NO_DEVICE)
        finally:
            if session_id is not None:
                self._gpu.leave(session_id, orderly=is_orderly)
                log.info(
                    "marks_stream_ended",
                    tenant=self._tenant_id,
                    gpu=self._gpu.device.gpu_id,
                    session=session_id,
                    orderly=is_orderly,
                    refused_mark_count=refused_count,
                )
        return meter_pb2.MarkResponse(refused_mark_count=refused_count)

    def _welcome(self, request: meter_pb2.MarkRequest, marks: list[presence.Mark]) -> SessionId:
        session_id = session_of(request)
        earliest_nanos = min([request.watermark_nanos, *(mark.start_nanos for mark in marks)])
        self._gpu.arrive(session_id, self._tenant_id, earliest_nanos=earliest_nanos)
        return session_id
