"""Wakes those who wait for news of a job; one connection listens for all of them.

A notification only hastens: every waiter also looks for itself after a while, so a lost one, or a
connection that has to be made anew, costs a little time and nothing else.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import psycopg
import structlog

from database.queries import load_queries
from tenants.ids import JobId

_QUERIES: Final = load_queries(__file__)
_RECONNECT_SECONDS: Final = 1.0

_log = structlog.get_logger()


class JobWakeups:
    """Who waits for which job."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._waiters: dict[JobId, set[asyncio.Event]] = {}

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        """Listen for as long as the block runs."""
        task = asyncio.create_task(self._listen_again_and_again())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @contextmanager
    def waiter(self, job_id: JobId) -> Generator[asyncio.Event]:
        """Return an event that is set whenever there may be news; its user clears it."""
        event = asyncio.Event()
        self._waiters.setdefault(job_id, set()).add(event)
        try:
            yield event
        finally:
            self._waiters[job_id].discard(event)
            if not self._waiters[job_id]:
                del self._waiters[job_id]

    def wake(self, job_id: JobId) -> None:
        """Wake those who wait for a job."""
        for event in self._waiters.get(job_id, ()):
            event.set()

    def wake_all(self) -> None:
        """Wake everybody: notifications may have been missed, or the gateway stops."""
        for job_id in self._waiters:
            self.wake(job_id)

    async def _listen_again_and_again(self) -> None:
        while True:
            try:
                await self._listen()
            except psycopg.Error as error:
                _log.warning("job wake-ups lost their connection", error=type(error).__qualname__)
                await asyncio.sleep(_RECONNECT_SECONDS)

    async def _listen(self) -> None:
        connection = await psycopg.AsyncConnection.connect(self._database_url, autocommit=True)
        async with connection:
            await connection.execute(_QUERIES["listen"])
            self.wake_all()
            async for notification in connection.notifies():
                self.wake(JobId(notification.payload))
