"""How a process's connections to PostgreSQL are doing, as the pool itself counts."""

from collections.abc import Callable
from typing import Final

from database.pool import Pool
from services.metrics import names
from services.metrics.metric import Metric, Sample

_MILLI: Final = 1000.0
# The pool's own word for each; what has not happened yet has no entry there.
_COUNTS: Final[tuple[tuple[Metric, str, float], ...]] = (
    (names.POOL_CONNECTIONS, "pool_size", 1),
    (names.POOL_CONNECTIONS_MAX, "pool_max", 1),
    (names.POOL_CONNECTIONS_IDLE, "pool_available", 1),
    (names.POOL_WAITING, "requests_waiting", 1),
    (names.POOL_WAITS, "requests_queued", 1),
    (names.POOL_WAIT_SECONDS, "requests_wait_ms", _MILLI),
    (names.POOL_REFUSALS, "requests_errors", 1),
    (names.CONNECTION_FAILURES, "connections_errors", 1),
)


def pool_source(*pools: Pool) -> Callable[[], list[Sample]]:
    """Make the source of these pools; their names are the label."""

    def read() -> list[Sample]:
        return [
            Sample(metric, stats.get(word, 0) / divisor, (pool.name,))
            for pool in pools
            for stats in (pool.get_stats(),)
            for metric, word, divisor in _COUNTS
        ]

    return read
