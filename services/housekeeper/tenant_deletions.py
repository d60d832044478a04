"""A tenant that the operator deleted is forgotten, step by step, until nothing of it is left.

Each step does what is still to be done and may be repeated, so a housekeeper that dies goes on
where it stopped. The last one looks whether anything is left: what a call that was under way has
added meanwhile is taken by the next sweep.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from psycopg import AsyncConnection

from database.pool import Pool, transaction
from database.queries import load_queries
from metering.forgetting import forget_budgets, forget_words_of_roll_ups
from services.housekeeper.forgotten_objects import ForgottenObjects
from services.housekeeper.tenant_turns import tenant_turn
from services.jobs.forgetting import forget_jobs, forget_pictures, forget_requests, kept_pictures
from services.object_store import STORE_ERRORS
from tenants.deletion_store import (
    end_deletion,
    forget_keys,
    lock_tenant_alone,
    open_deletions,
)
from tenants.ids import TenantId

_QUERIES: Final = load_queries(__file__)
_PICTURES_PER_STEP: Final = 500
# Of up to a thousand images each.
_JOBS_PER_STEP: Final = 10
_REQUESTS_PER_STEP: Final = 5_000

log = structlog.get_logger()


class TenantDeletions:
    """Forgets tenants whose deletion was asked for longer ago than ``grace_seconds``.

    The grace lets calls end that had passed the door before. ``waits_for_fleet`` is False where no
    fleet starts workers and brokers: their own orchestrator ends them.
    """

    def __init__(
        self, pool: Pool, objects: ForgottenObjects, *, grace_seconds: float, waits_for_fleet: bool
    ) -> None:
        self._pool = pool
        self._objects = objects
        self._grace_seconds = grace_seconds
        self._waits_for_fleet = waits_for_fleet
        # What was last told of each, so that it is told once.
        self._told: dict[TenantId, dict[str, int]] = {}

    async def sweep(self) -> None:
        async with self._pool.connection() as connection:
            deletions = await open_deletions(connection, grace_seconds=self._grace_seconds)
        for deletion in deletions:
            with tenant_turn(deletion.tenant_id, duty="tenant_deletions"):
                await self._go_on(deletion.tenant_id)

    async def _go_on(self, tenant_id: TenantId) -> None:
        try:
            await self._forget_pictures(tenant_id)
        except STORE_ERRORS as error:
            log.warning(
                "deletion_waits_for_object_store",
                tenant=tenant_id,
                error=type(error).__name__,
                reason=str(error),
            )
            return
        await self._repeat(lambda conn: forget_jobs(conn, tenant_id, limit=_JOBS_PER_STEP))
        await self._repeat(lambda conn: forget_requests(conn, tenant_id, limit=_REQUESTS_PER_STEP))
        for step in (forget_budgets, forget_keys, forget_words_of_roll_ups):
            async with transaction(self._pool) as connection:
                await step(connection, tenant_id)
        await self._end(tenant_id)

    async def _forget_pictures(self, tenant_id: TenantId) -> None:
        """Delete the object first, then its row: a row without an object is found again."""
        while True:
            async with self._pool.connection() as connection:
                pictures = await kept_pictures(connection, tenant_id, limit=_PICTURES_PER_STEP)
            if not pictures:
                break
            await self._objects.delete([picture.object_path for picture in pictures])
            async with transaction(self._pool) as connection:
                await forget_pictures(connection, tenant_id, pictures)
        strays = await self._objects.delete_strays(tenant_id)
        if strays:
            log.info("stray_objects_deleted", tenant=tenant_id, count=strays)

    async def _repeat(self, step: Callable[[AsyncConnection], Awaitable[int]]) -> None:
        """Do a step, each time in a transaction of its own, until it finds nothing to do."""
        count = 1
        while count:
            async with transaction(self._pool) as connection:
                count = await step(connection)

    async def _end(self, tenant_id: TenantId) -> None:
        async with transaction(self._pool) as connection:
            await lock_tenant_alone(connection, tenant_id)
            left = await self._left(connection, tenant_id)
            if not left:
                await end_deletion(connection, tenant_id)
        if not left:
            self._told.pop(tenant_id, None)
            log.info("tenant_deleted", tenant=tenant_id)
        elif self._told.get(tenant_id) != left:
            self._told[tenant_id] = left
            log.info("deletion_waits", tenant=tenant_id, **left)

    async def _left(self, connection: AsyncConnection, tenant_id: TenantId) -> dict[str, int]:
        """Count what is left, by what it is; pictures are those the recorder has yet to store."""
        cursor = await connection.execute(
            _QUERIES["count_left"],
            {"tenant_id": tenant_id, "waits_for_fleet": self._waits_for_fleet},
        )
        return {str(name): int(count) for name, count in await cursor.fetchall() if count}
