"""Tokens that a broker lost are published again: too many do no harm, too few stop the work."""

import asyncio
from collections.abc import Mapping

import structlog

from database.pool import Pool
from services.dispatch.errors import BrokerDownError
from services.dispatch.token_publisher import publish_tokens, queue_length
from services.jobs.recovery import claimable_counts, waiting_tokens
from services.transport.broker_places import BrokerPlaces

log = structlog.get_logger()

# One tenant's queue for one model.
QueueKey = tuple[str, str]


class MissingTokens:
    """Counts what is missing; tops up what was missing in two sweeps in a row.

    Once is no proof: between a job's commit and its tokens, and between a token's fetch and the
    worker's next heartbeat, a token is on its way.
    """

    def __init__(self, pool: Pool, *, brokers: BrokerPlaces) -> None:
        self._pool = pool
        self._brokers = brokers
        self._missing_before: Mapping[QueueKey, int] = {}

    async def sweep(self) -> None:
        missing = await self._count()
        for (tenant_id, model), count in seen_twice(self._missing_before, missing).items():
            await self._publish(tenant_id, model, count)
            # They count from the next sweep on, so the same gap is not filled twice.
            missing.pop((tenant_id, model))
        self._missing_before = missing

    async def _count(self) -> dict[QueueKey, int]:
        """Queued images less the tokens in the queue and in workers' threads.

        What a broker calls unacknowledged never counts: it may be of a worker long dead.
        """
        async with self._pool.connection() as connection:
            queued = await claimable_counts(connection)
            waiting = {
                (row.tenant_id, row.model): row.waiting_tokens
                for row in await waiting_tokens(connection)
            }
        missing: dict[QueueKey, int] = {}
        for row in queued:
            length = await self._queue_length(row.tenant_id, row.model)
            count = row.queued_count - waiting.get((row.tenant_id, row.model), 0)
            if length is not None and count > length:
                missing[row.tenant_id, row.model] = count - length
        return missing

    async def _queue_length(self, tenant_id: str, model: str) -> int | None:
        try:
            return await asyncio.to_thread(
                queue_length, self._brokers, tenant_id=tenant_id, model=model
            )
        except BrokerDownError:
            # The fleet restarts it; until then nothing can be put there.
            return None

    async def _publish(self, tenant_id: str, model: str, count: int) -> None:
        try:
            await asyncio.to_thread(
                publish_tokens, self._brokers, tenant_id=tenant_id, model=model, count=count
            )
            log.warning("tokens_replaced", tenant=tenant_id, model=model, count=count)
        except BrokerDownError as error:
            log.warning("broker_down", tenant=tenant_id, reason=str(error))


def seen_twice(before: Mapping[QueueKey, int], now: Mapping[QueueKey, int]) -> dict[QueueKey, int]:
    """Return what was missing both times, for each queue the smaller number."""
    return {key: min(count, before[key]) for key, count in now.items() if key in before}
