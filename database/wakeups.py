"""Wakes those who wait for news of something; one connection listens for all of them.

A notification only hastens: every waiter also looks for itself after a while, so a lost one, or a
connection that has to be made anew, costs a little time and nothing else.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import psycopg
import structlog
from psycopg import sql

_RECONNECT_SECONDS: Final = 1.0

_log = structlog.get_logger()


class Wakeups:
    """Who waits for which subject of one channel; a notification's payload is the subject.

    ``heard`` is called with every subject, and with an empty one when some may have been missed.
    """

    def __init__(
        self, database_url: str, *, channel: str, heard: Callable[[str], None] | None = None
    ) -> None:
        self._database_url = database_url
        self._channel = channel
        self._heard = heard
        self._waiters: dict[str, set[asyncio.Event]] = {}

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
    def waiter(self, subject: str) -> Generator[asyncio.Event]:
        """Return an event that is set whenever there may be news; its user clears it."""
        event = asyncio.Event()
        self._waiters.setdefault(subject, set()).add(event)
        try:
            yield event
        finally:
            self._waiters[subject].discard(event)
            if not self._waiters[subject]:
                del self._waiters[subject]

    def wake(self, subject: str) -> None:
        """Wake those who wait for a subject."""
        for event in self._waiters.get(subject, ()):
            event.set()

    def wake_all(self) -> None:
        """Wake everybody: notifications may have been missed, or the process stops."""
        for subject in self._waiters:
            self.wake(subject)

    async def _listen_again_and_again(self) -> None:
        while True:
            try:
                await self._listen()
            except psycopg.Error as error:
                _log.warning(
                    "wakeups_disconnected", channel=self._channel, error=type(error).__qualname__
                )
                await asyncio.sleep(_RECONNECT_SECONDS)

    async def _listen(self) -> None:
        connection = await psycopg.AsyncConnection.connect(self._database_url, autocommit=True)
        async with connection:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
            self.wake_all()
            self._hear("")
            async for notification in connection.notifies():
                self.wake(notification.payload)
                self._hear(notification.payload)

    def _hear(self, subject: str) -> None:
        if self._heard is not None:
            self._heard(subject)
