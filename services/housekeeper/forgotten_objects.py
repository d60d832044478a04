"""Objects of tenants that leave are deleted; one that is gone already is no failure."""

from collections.abc import Sequence
from contextlib import suppress

import obstore
from obstore.store import ObjectStore

from services.object_store import ObjectStoreDoor
from tenants.ids import TenantId


class ForgottenObjects:
    """Deletes from one object store."""

    def __init__(self, store: ObjectStoreDoor) -> None:
        self._store = store

    async def delete(self, paths: Sequence[str]) -> None:
        """Delete these; raises what STORE_ERRORS names while the store cannot be used."""
        if paths:
            await _delete(await self._store.open(), paths)

    async def delete_strays(self, tenant_id: TenantId) -> int:
        """Delete what no row speaks of any more, such as a picture whose upload was cut off.

        Returns:
            How many there were.
        """
        store = await self._store.open()
        count = 0
        found_lists = obstore.list(  # pyright: ignore[reportUnknownMemberType] - of the arrow forms
            store, prefix=f"tenants/{tenant_id}"
        )
        async for listed in found_lists:
            paths = [found["path"] for found in listed]
            await _delete(store, paths)
            count += len(paths)
        return count


async def _delete(store: ObjectStore, paths: Sequence[str]) -> None:
    try:
        # S3 takes a thousand in one call.
        await obstore.delete_async(store, paths)
    except FileNotFoundError:
        for path in paths:
            with suppress(FileNotFoundError):
                await obstore.delete_async(store, path)
