"""That somebody listens to an interactive drawing, noted where all replicas and others can look.

While a stream lives its time is renewed; the housekeeper cancels what nobody has attended for ten
seconds. So a client may come back to any replica, and one that was killed leaves nothing running.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog

from database.pool import UNREACHABLE_ERRORS, Pool, tenant_transaction
from services.gateway.scopes import JobName
from services.jobs.attendance_store import attend

log = structlog.get_logger()


class Attendance:
    """Renews the time of what is listened to, every ``period_seconds``."""

    def __init__(self, pool: Pool, *, period_seconds: float) -> None:
        self._pool = pool
        self._period_seconds = period_seconds
        self._last_notes: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def attended(self, job: JobName) -> AsyncGenerator[None]:
        """Note a listener for as long as the block runs; the grace time begins at its end."""
        renewing = asyncio.create_task(self._keep_noting(job))
        try:
            yield
        finally:
            renewing.cancel()
            # The stream's own task may be cancelled: the last note needs one of its own.
            last_note = asyncio.create_task(self._note(job))
            self._last_notes.add(last_note)
            last_note.add_done_callback(self._last_notes.discard)

    async def finish(self) -> None:
        """Wait for the last notes, so that those who were sent away have time to come back."""
        await asyncio.gather(*self._last_notes)

    async def _keep_noting(self, job: JobName) -> None:
        while True:
            await self._note(job)
            await asyncio.sleep(self._period_seconds)

    async def _note(self, job: JobName) -> None:
        try:
            async with tenant_transaction(self._pool, job.tenant_id) as conn:
                await attend(conn, tenant_id=job.tenant_id, job_id=job.job_id)
        except UNREACHABLE_ERRORS as error:
            log.warning("attendance_not_noted", reason=type(error).__qualname__)
