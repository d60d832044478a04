"""Whether anybody listens to an interactive drawing; one that nobody waits for is cancelled.

Each replica knows its own listeners only: one who comes back to another replica within the grace
time finds the drawing cancelled by the first. Clients come back to the same address, and a replica
that drains cancels nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import structlog

from services.gateway.draining import Drain
from services.gateway.scopes import JobName

log = structlog.get_logger()


class Attendance:
    """Counts listeners and lets go of what is left alone for ``grace_seconds``."""

    def __init__(
        self,
        *,
        cancel: Callable[[JobName], Awaitable[None]],
        drain: Drain,
        grace_seconds: float,
    ) -> None:
        self._cancel = cancel
        self._drain = drain
        self._grace_seconds = grace_seconds
        self._listeners: Counter[JobName] = Counter()
        self._waiting: set[asyncio.Task[None]] = set()

    @contextmanager
    def attended(self, job: JobName) -> Generator[None]:
        """Count a listener for as long as the block runs."""
        self._listeners[job] += 1
        try:
            yield
        finally:
            self._listeners[job] -= 1
            if not self._listeners[job]:
                del self._listeners[job]
                self._let_go_later(job)

    def _let_go_later(self, job: JobName) -> None:
        task = asyncio.create_task(self._let_go_unless_somebody_comes(job))
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    async def _let_go_unless_somebody_comes(self, job: JobName) -> None:
        await asyncio.sleep(self._grace_seconds)
        if job in self._listeners or self._drain.begun:
            return
        try:
            await self._cancel(job)
        except Exception as error:  # noqa: BLE001 - the drawing goes on; nobody is there to be told
            log.warning("unattended drawing goes on", error=type(error).__qualname__)

    async def finish(self) -> None:
        """Forget what waits: the next replica begins to count anew."""
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)
