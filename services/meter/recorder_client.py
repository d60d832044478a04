"""The recorder's calls that the meter makes."""

from types import TracebackType
from typing import Final, Self

import grpc
from grpc import aio

from metering.energy_records import LastReading, SegmentBatch
from services.internal.v1 import recorder_pb2, recorder_pb2_grpc
from services.meter.conversions import last_reading_of, segments_request
from services.meter.errors import RecorderUnavailableError, SegmentsRefusedError
from services.transport.callees import Callee
from services.transport.channels import RenewedChannel, open_aio_channel
from tenants.ids import GpuId

_CALL_SECONDS: Final = 5.0
# A finished image waits for its segments, so a recorder that is back is found at once.
_RECONNECTING: Final = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
)
_FINAL_CODES: Final = frozenset({grpc.StatusCode.INVALID_ARGUMENT})


class RecorderClient:
    """A connection to the recorder; an asynchronous context manager."""

    def __init__(self, recorder: Callee) -> None:
        self._channel = RenewedChannel(recorder, lambda to: open_aio_channel(to, _RECONNECTING))

    @property
    def _stub(self) -> "recorder_pb2_grpc.RecorderServiceAsyncStub":
        return recorder_pb2_grpc.RecorderServiceStub(self._channel.now())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for channel in self._channel.opened():
            await channel.close()

    async def last_reading(self, gpu_id: GpuId) -> LastReading | None:
        """Return where the stored timeline of a GPU ends.

        Raises:
            RecorderUnavailableError: It does not answer.
        """
        request = recorder_pb2.GetLastReadingRequest(gpu_id=gpu_id)
        try:
            response = await self._stub.GetLastReading(request, timeout=_CALL_SECONDS)
        except aio.AioRpcError as error:
            raise RecorderUnavailableError(str(error.code())) from error
        return last_reading_of(response)

    async def record_segments(self, batch: SegmentBatch) -> int:
        """Have segments stored; return the number up to which their epoch is.

        Raises:
            RecorderUnavailableError: It does not answer; perhaps it stored them all the same.
            SegmentsRefusedError: It never will.
        """
        try:
            response = await self._stub.RecordSegments(
                segments_request(batch), timeout=_CALL_SECONDS
            )
        except aio.AioRpcError as error:
            if error.code() in _FINAL_CODES:
                raise SegmentsRefusedError(error.details() or "") from error
            raise RecorderUnavailableError(str(error.code())) from error
        return response.last_number
