"""What is read of PostgreSQL for Prometheus: every few seconds, whoever scrapes how often.

A look that fails, or comes too late, leaves nothing to show but that PostgreSQL does not answer.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

import structlog

from database.pool import UNREACHABLE_ERRORS, Connection, Pool
from services.metrics import names
from services.metrics.exposition import Exposition
from services.metrics.listener import serving_metrics
from services.metrics.metric import Sample

_PERIOD_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 5.0
# Older than this it is no news.
_FRESH_SECONDS: Final = 3 * _PERIOD_SECONDS

Read: TypeAlias = Callable[[Connection], Awaitable[Sequence[Sample]]]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    samples: Sequence[Sample]
    time_seconds: float


class DatabaseLook:
    """Remembers what it saw at the last look, or that it saw nothing."""

    def __init__(
        self, read: Read, *, monotonic_seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._read = read
        self._monotonic_seconds = monotonic_seconds
        self._seen: _Seen | None = None

    def samples(self) -> list[Sample]:
        """Return what was seen, and whether PostgreSQL answers; called by other threads."""
        seen = self._seen
        if seen is None or self._monotonic_seconds() - seen.time_seconds > _FRESH_SECONDS:
            return [Sample(names.DATABASE_UP, 0)]
        return [Sample(names.DATABASE_UP, 1), *seen.samples]

    def remember(self, samples: Sequence[Sample]) -> None:
        """Take what was seen just now."""
        self._seen = _Seen(samples=samples, time_seconds=self._monotonic_seconds())

    async def look(self, pool: Pool) -> None:
        """Look once."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), pool.connection() as connection:
                samples = await self._read(connection)
        except (*UNREACHABLE_ERRORS, TimeoutError):
            self._seen = None
        except Exception:
            # A defect here must not end the process that does the work.
            log.exception("metrics_look_failed")
            self._seen = None
        else:
            self.remember(samples)

    @asynccontextmanager
    async def going_on(self, pool: Pool) -> AsyncGenerator[None]:
        """Look again and again while this is open."""
        looking = asyncio.create_task(self.look_again_and_again(pool))
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.wait({looking})

    async def look_again_and_again(self, pool: Pool) -> None:
        """Look every few seconds; runs until it is cancelled."""
        while True:
            await self.look(pool)
            await asyncio.sleep(_PERIOD_SECONDS)


async def only_ask(connection: Connection) -> Sequence[Sample]:
    """See nothing but that there is an answer, which lending the connection has asked for."""
    del connection
    return ()


@asynccontextmanager
async def serving_with_database(
    exposition: Exposition, address: str | None, *, look: DatabaseLook, pool: Pool
) -> AsyncGenerator[None]:
    """Answer scrapes and look at PostgreSQL while this is open; without an address: neither.

    Raises:
        OSError: the address is taken, or not this host's.
    """
    if address is None:
        yield
        return
    async with look.going_on(pool):
        with serving_metrics(exposition, address):
            yield
