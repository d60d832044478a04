"""Tokens that a broker lost are published again: too many do no harm, too few stop the work."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from database.pool import Pool
from database.queries import load_queries
from services.housekeeper.broker_desk import BrokerDesk, QueueKey
from services.jobs.recovery import claimable_counts, waiting_tokens
from services.transport.broker_places import BrokerPlaces
from tenants.ids import TenantId

_QUERIES: Final = load_queries(__file__)


class MissingTokens:
    """Counts what is missing; tops up what was missing in two sweeps in a row.

    Once is no proof: between a job's commit and its tokens, and between a token's fetch and the
    worker's next heartbeat, a token is on its way.
    """

    def __init__(self, pool: Pool, *, brokers: BrokerPlaces) -> None:
        self._pool = pool
        self._desk = BrokerDesk(brokers)
        self._missing_before: Mapping[QueueKey, int] = {}

    @property
    def replaced_count(self) -> int:
        """How many tokens were published again since the start of this process."""
        return self._desk.replaced_count

    async def sweep(self) -> None:
        missing = await self._count()
        due = seen_twice(self._missing_before, missing)
        await self._desk.publish(due)
        # They count from the next sweep on, so the same gap is not filled twice.
        self._missing_before = {key: count for key, count in missing.items() if key not in due}
        await self._tell_operator()

    async def _count(self) -> dict[QueueKey, int]:
        """Queued images less the tokens in the queue and in workers' threads."""
        async with self._pool.connection() as connection:
            queued = {
                (row.tenant_id, row.model): row.queued_count
                for row in await claimable_counts(connection)
            }
            waiting = {
                (row.tenant_id, row.model): row.waiting_tokens
                for row in await waiting_tokens(connection)
            }
        models: dict[TenantId, list[str]] = defaultdict(list)
        for tenant_id, model in queued:
            models[tenant_id].append(model)
        lengths = await self._desk.lengths(models)
        missing = {
            key: queued[key] - waiting.get(key, 0) - length for key, length in lengths.items()
        }
        return {key: count for key, count in missing.items() if count > 0}

    async def _tell_operator(self) -> None:
        """Count whose brokers had to be put in order, beside what their workers sent in vain."""
        counts = self._desk.put_in_order
        if not counts:
            return
        async with self._pool.connection() as connection:
            await connection.execute(
                _QUERIES["add_broker_keys"],
                {"tenant_ids": list(counts), "counts": list(counts.values())},
            )
        counts.clear()


def seen_twice(before: Mapping[QueueKey, int], now: Mapping[QueueKey, int]) -> dict[QueueKey, int]:
    """Return what was missing both times, for each queue the smaller number."""
    return {key: min(count, before[key]) for key, count in now.items() if key in before}
