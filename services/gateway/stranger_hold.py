"""What a caller whose key does not open costs: little work, few log lines, and time of its own.

Refused at once, a forger asks again at once, and every core is busy refusing. Held for a moment, it
runs out of calls that its connections may have in flight, and the flood slows down by itself. A
held call is a timer and some kilobytes; above a number of them the next is refused at once.
"""

import asyncio
from typing import Final

import grpc
import structlog

from services.gateway.errors import Refusal
from services.gateway.rate_limits import RateLimits

_HELD_MAX: Final = 2_000
# What is said of a key; an outage is told at once.
_HELD_CODES: Final = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED)
_LOG_LINES_PER_MINUTE_MAX: Final = 120
_LOG_NAME: Final = "strangers"

_log = structlog.get_logger()


class StrangerHold:
    """Holds refusals back, and log lines."""

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds
        self._held_count = 0
        self._log_limit = RateLimits(names_max=1)
        self._omitted_count = 0

    async def hold(self, refusal: Refusal) -> None:
        """Wait before a stranger is told that its key does not open."""
        if refusal.code not in _HELD_CODES or self._held_count >= _HELD_MAX:
            return
        self._held_count += 1
        try:
            await asyncio.sleep(self._seconds)
        finally:
            self._held_count -= 1

    def may_log(self, *, is_stranger: bool) -> bool:
        """Tell whether a call gets its line; strangers' are counted beyond so many a minute."""
        if not is_stranger:
            return True
        if self._log_limit.wait_seconds(_LOG_NAME, per_minute_max=_LOG_LINES_PER_MINUTE_MAX):
            self._omitted_count += 1
            return False
        if self._omitted_count:
            _log.warning("strangers_not_logged", call_count=self._omitted_count)
            self._omitted_count = 0
        return True
