"""Where pictures lie for good: a folder (``file://``, a NAS) or what obstore calls a store (S3).

It may be unusable for a while, also at a process's start: then whoever needs it is told so at each
use, and it is opened anew until it can be.
"""

import asyncio
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import structlog
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, from_url

log = structlog.get_logger()

# What a store that cannot be used right now raises; asking again later may do better.
STORE_ERRORS: Final = (BaseError, OSError)


class ObjectStoreDoor:
    """The way to one object store."""

    def __init__(self, objects_url: str) -> None:
        """Remember where it is.

        Raises:
            ValueError, BaseError: no store can ever be there; the address is wrong.
        """
        parts = urlsplit(objects_url)
        self._folder = Path(parts.path) if parts.scheme == "file" else None
        # Other stores are not asked anything before their first use.
        self._store: ObjectStore | None = None if self._folder else from_url(objects_url)

    async def look(self) -> None:
        """Say in the log when the store cannot be used now; nothing else depends on it."""
        try:
            await self.open()
        except STORE_ERRORS as error:
            log.warning("object_store_unusable", error=type(error).__name__, reason=str(error))

    async def open(self) -> ObjectStore:
        """Return the store, opened at the first time that it can be.

        Raises:
            OSError: the folder cannot be made now.
        """
        if self._store is None:
            # A network file system may hang.
            self._store = await asyncio.to_thread(
                # A folder that holds nothing any more would still tell a tenant's and a job's id.
                LocalStore,
                self._folder,
                automatic_cleanup=True,
                mkdir=True,
            )
        return self._store
