"""A duty: done every so often, by one housekeeper at a time, and never given up after a failure."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from database.duty_lock import try_lock_duty, unlock_duty
from database.pool import UNREACHABLE_ERRORS, Pool
from services.housekeeper.duty_tally import FAILED_TENANTS, DutyTally, RoundResult

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """What is done how often; its name is the lock's."""

    name: str
    period_seconds: float
    work: Callable[[], Awaitable[None]]


async def keep_doing(duty: Duty, *, pool: Pool, tally: DutyTally, stop: asyncio.Event) -> None:
    """Do the duty until told to stop; a round that fails is logged, the next one tries again."""
    tally.begin(duty.name, period_seconds=duty.period_seconds)
    while not stop.is_set():
        start = time.monotonic()
        tally.note(duty.name, await _round(duty, pool))
        await _sleep(max(0.0, start + duty.period_seconds - time.monotonic()), stop)


async def _round(duty: Duty, pool: Pool) -> RoundResult:
    try:
        return await _do_once(duty, pool)
    except UNREACHABLE_ERRORS as error:
        log.warning("database_lost", duty=duty.name, reason=str(error))
        return RoundResult.NO_DATABASE
    except Exception:
        # Whatever it was: the other duties and the next round must not suffer from it.
        log.exception("duty_failed", duty=duty.name)
        return RoundResult.FAILED


async def _do_once(duty: Duty, pool: Pool) -> RoundResult:
    async with pool.connection() as connection:
        if not await try_lock_duty(connection, duty.name):
            return RoundResult.ELSEWHERE
        failed_tenants: list[str] = []
        FAILED_TENANTS.set(failed_tenants)
        try:
            await duty.work()
        finally:
            await unlock_duty(connection, duty.name)
    return RoundResult.PARTLY if failed_tenants else RoundResult.DONE


async def _sleep(seconds: float, stop: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return
