"""How often something may happen: GCRA, a token bucket, in this process's memory.

Each replica counts for itself: with n replicas a limit admits up to n times as much, and a caller
that a balancer keeps at one replica meets the limit itself.
"""

from datetime import timedelta
from typing import Final

from throttled import rate_limiter, store
from throttled.rate_limiter.gcra import GCRARateLimiter

_MINUTE: Final = timedelta(minutes=1)
# A caller may be ahead of its pace by so much of a minute's calls: bursts are no floods.
_BURST_SHARE: Final = 6
_WAIT_SECONDS_MIN: Final = 0.001


class RateLimits:
    """Counts by name; remembers the ``names_max`` that came last, so that memory stays flat."""

    def __init__(self, *, names_max: int) -> None:
        self._store = store.MemoryStore(options={"MAX_SIZE": names_max})
        # One for each number that an operator has ever set.
        self._limiters: dict[int, GCRARateLimiter] = {}

    def wait_seconds(self, name: str, *, per_minute_max: int) -> float:
        """Count one more; 0 when it may happen, else how long until one may."""
        result = self._limiter(per_minute_max).limit(name)
        # A limit that says wait and gives no time would be asked again at once.
        return max(result.state.retry_after, _WAIT_SECONDS_MIN) if result.limited else 0.0

    def _limiter(self, per_minute_max: int) -> GCRARateLimiter:
        if per_minute_max not in self._limiters:
            burst = max(per_minute_max // _BURST_SHARE, 1)
            quota = rate_limiter.per_duration(_MINUTE, per_minute_max, burst)
            self._limiters[per_minute_max] = GCRARateLimiter(quota, self._store)
        return self._limiters[per_minute_max]
