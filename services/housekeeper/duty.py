"""A duty: done every so often, by one housekeeper at a time, and never given up after a failure."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from database.duty_lock import try_lock_duty, unlock_duty
from database.pool import UNREACHABLE_ERRORS, Pool

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """What is done how often; its name is the lock's."""

    name: str
    period_seconds: float
    work: Callable[[], Awaitable[None]]


async def keep_doing(duty: Duty, *, pool: Pool, stop: asyncio.Event) -> None:
    """Do the duty until told to stop; a round that fails is logged, the next one tries again."""
    while not stop.is_set():
        start = time.monotonic()
        try:
            await _do_once(duty, pool)
        except UNREACHABLE_ERRORS as error:
            log.warning("database_lost", duty=duty.name, reason=str(error))
        except Exception:
            # Whatever it was: the other duties and the next round must not suffer from it.
            log.exception("duty_failed", duty=duty.name)
        await _sleep(max(0.0, start + duty.period_seconds - time.monotonic()), stop)


async def _do_once(duty: Duty, pool: Pool) -> None:
    async with pool.connection() as connection:
        if not await try_lock_duty(connection, duty.name):
            return
        try:
            await duty.work()
        finally:
            await unlock_duty(connection, duty.name)


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
