"""What the gateway asks the recorder: pictures that are still in its spool, and its storage."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import grpc
import grpc.aio

from services.internal.v1 import recorder_pb2, recorder_pb2_grpc
from services.transport.callees import Callee
from services.transport.channels import RenewedChannel, open_aio_channel
from tenants.ids import ImageId, TenantId

_MESSAGE_BYTES_MAX: Final = 2 * 1024 * 1024
_READ_SECONDS: Final = 60.0
_PROBE_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """How the recorder's storage does."""

    # Why the picture store took nothing; empty when it did.
    store_error: str
    spool_free_bytes: int
    spool_total_bytes: int


class SpoolUnreachableError(Exception):
    """The recorder does not answer."""


class NotInSpoolError(Exception):
    """The recorder has no such picture: it was carried to the object store, or never was."""


class RecorderClient:
    """Speaks to the recorder as gateways do."""

    def __init__(self, channel: RenewedChannel[grpc.aio.Channel]) -> None:
        self._channel = channel

    @property
    def _stub(self) -> "recorder_pb2_grpc.RecorderServiceAsyncStub":
        return recorder_pb2_grpc.RecorderServiceStub(self._channel.now())

    async def read_picture(self, tenant_id: TenantId, image_id: ImageId) -> AsyncGenerator[bytes]:
        """Yield a picture's bytes.

        Raises:
            NotInSpoolError: look into the object store.
            SpoolUnreachableError: the recorder does not answer.
        """
        request = recorder_pb2.ReadPictureRequest(tenant_id=tenant_id, image_id=image_id)
        call = self._stub.ReadPicture(request, timeout=_READ_SECONDS)
        try:
            async for response in call:
                yield response.chunk
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                raise NotInSpoolError(image_id) from error
            raise SpoolUnreachableError(str(error.code())) from error
        finally:
            call.cancel()

    async def probe_storage(self) -> Storage:
        """Have the recorder try its storage.

        Raises:
            SpoolUnreachableError: the recorder does not answer.
        """
        request = recorder_pb2.ProbeStorageRequest()
        try:
            answer = await self._stub.ProbeStorage(request, timeout=_PROBE_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise SpoolUnreachableError(str(error.code())) from error
        return Storage(
            store_error=answer.store_error,
            spool_free_bytes=answer.spool_free_bytes,
            spool_total_bytes=answer.spool_total_bytes,
        )


@asynccontextmanager
async def open_recorder_client(recorder: Callee) -> AsyncGenerator[RecorderClient]:
    """Open a client; the recorder may come and go meanwhile."""
    options = [
        ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
        # After a restart of the recorder the socket is a new one: look for it soon.
        ("grpc.max_reconnect_backoff_ms", 500),
    ]
    channel = RenewedChannel(recorder, lambda callee: open_aio_channel(callee, options))
    try:
        yield RecorderClient(channel)
    finally:
        for opened in channel.opened():
            await opened.close()
