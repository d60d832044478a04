"""The bytes of finished pictures: from the object store, or before that from the spool."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final, Protocol

import obstore
import structlog

from atelier.v1 import image_pb2
from services.gateway.errors import backend_down, invalid_field, invalid_state
from services.gateway.job_messages import file_message
from services.gateway.recorder_client import NotInSpoolError, SpoolUnreachableError
from services.jobs.records import Image, Picture
from services.object_store import STORE_ERRORS, ObjectStoreDoor
from tenants.ids import ImageId, TenantId

CHUNK_BYTES: Final = 256 * 1024

_log = structlog.get_logger()


class Spool(Protocol):
    """Where pictures lie before they are in the object store."""

    def read_picture(self, tenant_id: TenantId, image_id: ImageId) -> AsyncGenerator[bytes]:
        """Yield a picture's bytes, or raise NotInSpoolError or SpoolUnreachableError."""
        ...


class PictureReader:
    """Reads pictures for their tenants."""

    def __init__(self, *, store: ObjectStoreDoor, spool: Spool) -> None:
        self._store = store
        self._spool = spool

    async def open(
        self, image: Image, *, read_offset: int
    ) -> tuple[image_pb2.PictureFile, AsyncIterator[bytes]]:
        """Return what is known of a picture's file, and its bytes from an offset on.

        Raises:
            CallRefusedError: INVALID_STATE_TRANSITION when there is no picture to download,
                FIELD_VIOLATION when the offset lies behind its end.
        """
        if image.picture is None:
            raise invalid_state(f"the image is {image.state}: no picture", state=image.state)
        if read_offset > image.picture.byte_count:
            raise invalid_field(
                "read_offset", f"is behind the file's end, {image.picture.byte_count}"
            )
        return file_message(image.picture, image.spec), self._chunks(
            image, image.picture, read_offset
        )

    async def _chunks(
        self, image: Image, picture: Picture, read_offset: int
    ) -> AsyncGenerator[bytes]:
        if picture.store_time is None:
            try:
                async for chunk in _behind(
                    self._spool.read_picture(image.tenant_id, image.image_id), read_offset
                ):
                    yield chunk
            except NotInSpoolError:
                # It was carried to the object store since its row was read.
                pass
            except SpoolUnreachableError as error:
                raise backend_down("the recorder") from error
            else:
                return
        async for chunk in self._stored_chunks(picture, read_offset):
            yield chunk

    async def _stored_chunks(self, picture: Picture, read_offset: int) -> AsyncGenerator[bytes]:
        offset = read_offset
        try:
            store = await self._store.open()
            # By ranges, so that a slow reader holds one chunk and no connection.
            while offset < picture.byte_count:
                end = min(offset + CHUNK_BYTES, picture.byte_count)
                chunk = await obstore.get_range_async(
                    store, picture.object_path, start=offset, end=end
                )
                yield bytes(chunk)
                offset = end
        except STORE_ERRORS as error:
            _log.warning("object store refuses", error=type(error).__qualname__)
            raise backend_down("the picture store") from error


async def _behind(chunks: AsyncGenerator[bytes], offset: int) -> AsyncGenerator[bytes]:
    """Leave out the first ``offset`` bytes."""
    left_out = 0
    async for chunk in chunks:
        rest = chunk[max(offset - left_out, 0) :]
        left_out += len(chunk)
        if rest:
            yield rest
