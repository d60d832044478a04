"""What the gateway is offered: pictures that are still in the spool, and how the storage does."""

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import obstore
from grpc import aio

from database.pool import UNREACHABLE_ERRORS, Pool, tenant_transaction
from services.internal.v1 import recorder_pb2, recorder_pb2_grpc
from services.jobs import picture_store
from services.object_store import STORE_ERRORS, ObjectStoreDoor
from services.recorder.conversions import image_id_of
from services.recorder.errors import MessageInvalidError
from services.recorder.spool import Spool
from tenants.ids import TenantId

# No tenant has a name like this.
_PROBE_FOLDER: Final = "-probe"
_STORE_SECONDS_MAX: Final = 10.0


class PictureService(recorder_pb2_grpc.RecorderServiceServicer):
    """The gateway's side of the recorder; the gateway has checked who may read."""

    def __init__(self, *, pool: Pool, spool: Spool, store: ObjectStoreDoor) -> None:
        self._pool = pool
        self._spool = spool
        self._store = store

    async def ReadPicture(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        request: recorder_pb2.ReadPictureRequest,
        context: aio.ServicerContext[
            recorder_pb2.ReadPictureRequest, recorder_pb2.ReadPictureResponse
        ],
    ) -> AsyncIterator[recorder_pb2.ReadPictureResponse]:
        """Yield a picture's bytes; NOT_FOUND once it is in the object store."""
        try:
            tenant_id = TenantId(request.tenant_id)
            image_id = image_id_of(request.image_id)
            async with tenant_transaction(self._pool, tenant_id) as conn:
                picture = await picture_store.spooled_picture(
                    conn, tenant_id=tenant_id, image_id=image_id
                )
            if picture is None:
                await context.abort(grpc.StatusCode.NOT_FOUND, "no such picture")
            async for chunk in self._spool.read(picture.spool_name):
                yield recorder_pb2.ReadPictureResponse(chunk=chunk)
        except FileNotFoundError:
            await context.abort(grpc.StatusCode.NOT_FOUND, "not in the spool any more")
        except MessageInvalidError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except (OSError, *UNREACHABLE_ERRORS) as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, type(error).__name__)

    async def ProbeStorage(  # pyright: ignore[reportIncompatibleMethodOverride] - asynchronous
        self, request: recorder_pb2.ProbeStorageRequest, context: aio.ServicerContext[Any, Any]
    ) -> recorder_pb2.ProbeStorageResponse:
        """Try what every picture needs; an error is an answer here."""
        disk = shutil.disk_usage(self._spool.directory)
        return recorder_pb2.ProbeStorageResponse(
            store_error=await self._store_error(),
            spool_free_bytes=disk.free,
            spool_total_bytes=disk.total,
        )

    async def _store_error(self) -> str:
        path = f"{_PROBE_FOLDER}/{secrets.token_hex(8)}"
        try:
            async with asyncio.timeout(_STORE_SECONDS_MAX):
                store = await self._store.open()
                await obstore.put_async(store, path, b"probe")
                await obstore.delete_async(store, path)
        except STORE_ERRORS as error:
            return f"{type(error).__name__}: {error}"
        return ""
