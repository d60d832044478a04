"""What the host's meter is offered: RecordSegments and GetLastReading."""

import grpc
from grpc import aio

from database.pool import UNREACHABLE_ERRORS, Pool, transaction
from metering import energy_store
from services.internal.v1 import recorder_pb2, recorder_pb2_grpc
from services.recorder.conversions import last_reading_message, segment_batch_of
from services.recorder.errors import MessageInvalidError
from tenants.ids import GpuId


class MeterIntake(recorder_pb2_grpc.RecorderServiceServicer):
    """The meter's side of the recorder; its pool may insert segments and nothing else."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def RecordSegments(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        request: recorder_pb2.RecordSegmentsRequest,
        context: aio.ServicerContext[
            recorder_pb2.RecordSegmentsRequest, recorder_pb2.RecordSegmentsResponse
        ],
    ) -> recorder_pb2.RecordSegmentsResponse:
        """Store segments; repeating them changes nothing."""
        try:
            batch = segment_batch_of(request)
            async with transaction(self._pool) as conn:
                last_number = await energy_store.insert_segments(conn, batch)
        except MessageInvalidError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except UNREACHABLE_ERRORS as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, type(error).__name__)
        return recorder_pb2.RecordSegmentsResponse(last_number=last_number)

    async def GetLastReading(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        request: recorder_pb2.GetLastReadingRequest,
        context: aio.ServicerContext[
            recorder_pb2.GetLastReadingRequest, recorder_pb2.GetLastReadingResponse
        ],
    ) -> recorder_pb2.GetLastReadingResponse:
        """Tell where a restarted meter goes on."""
        try:
            async with transaction(self._pool) as conn:
                reading = await energy_store.last_reading(conn, GpuId(request.gpu_id))
        except UNREACHABLE_ERRORS as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, type(error).__name__)
        return last_reading_message(reading)
