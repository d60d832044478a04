"""Carries pictures from the spool to the object store, again and again until it takes them."""

import asyncio
from contextlib import suppress
from typing import Final

import obstore
import structlog

from database.pool import UNREACHABLE_ERRORS, Pool, tenant_transaction, transaction
from services.jobs import picture_store
from services.jobs.picture_store import SpooledPicture
from services.object_store import STORE_ERRORS, ObjectStoreDoor
from services.recorder.spool import Spool

_PICTURES_AT_ONCE: Final = 100
# Somebody else may have set a picture free (a released quarantine): look from time to time.
_LOOK_SECONDS: Final = 5.0
_RETRY_SECONDS_MIN: Final = 0.5
_RETRY_SECONDS_MAX: Final = 30.0

log = structlog.get_logger()


class Uploader:
    """Empties the spool; a picture that cannot be stored stays in it and is not drawn again."""

    def __init__(
        self, *, pool: Pool, spool: Spool, store: ObjectStoreDoor, picture_arrived: asyncio.Event
    ) -> None:
        self._pool = pool
        self._spool = spool
        self._store = store
        self._picture_arrived = picture_arrived
        self._retry_seconds = _RETRY_SECONDS_MIN
        # Since the start of this process.
        self.stored_count = self.failure_count = self.missing_count = 0

    async def sweep(self) -> None:
        """Delete files that no accepted picture needs; only before anybody may send pictures."""
        async with transaction(self._pool) as conn:
            pictures = await picture_store.pictures_to_store(conn, limit=1_000_000)
        stray_count = self._spool.remove_all_but({picture.spool_name for picture in pictures})
        log.info("spool_swept", waiting_pictures=len(pictures), stray_files=stray_count)

    async def run(self) -> None:
        """Store pictures as they arrive; runs until it is cancelled."""
        while True:
            self._picture_arrived.clear()
            if await self.store_waiting():
                self._retry_seconds = _RETRY_SECONDS_MIN
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._picture_arrived.wait(), _LOOK_SECONDS)
            else:
                await asyncio.sleep(self._retry_seconds)
                self._retry_seconds = min(self._retry_seconds * 2, _RETRY_SECONDS_MAX)

    async def store_waiting(self) -> bool:
        """Store what waits; False when something refused and should be asked again later."""
        try:
            async with transaction(self._pool) as conn:
                pictures = await picture_store.pictures_to_store(conn, limit=_PICTURES_AT_ONCE)
            for picture in pictures:
                await self._store_picture(picture)
        except (*STORE_ERRORS, *UNREACHABLE_ERRORS) as error:
            self.failure_count += 1
            log.warning(
                "upload_refused", error=type(error).__name__, retry_seconds=self._retry_seconds
            )
            return False
        return len(pictures) < _PICTURES_AT_ONCE

    async def _store_picture(self, picture: SpooledPicture) -> None:
        path = self._spool.path(picture.spool_name)
        if path.exists():
            await obstore.put_async(await self._store.open(), picture.object_path, path)
        elif not await self._is_stored(picture):
            # Another host's spool has it, or a disk was lost.
            self.missing_count += 1
            log.error("picture_missing", tenant=picture.tenant_id, image=picture.image_id)
            return
        async with tenant_transaction(self._pool, picture.tenant_id) as conn:
            await picture_store.mark_stored(
                conn, tenant_id=picture.tenant_id, image_id=picture.image_id
            )
        self._spool.remove(picture.spool_name)
        self.stored_count += 1

    async def _is_stored(self, picture: SpooledPicture) -> bool:
        try:
            meta = await obstore.head_async(await self._store.open(), picture.object_path)
        except FileNotFoundError:
            return False
        return meta["size"] == picture.byte_count
