"""When a failed call is made again, and after how long. Pure.

Only two kinds of failure are worth it: nobody answers (UNAVAILABLE), and a limit whose server says
when to come back (RESOURCE_EXHAUSTED with RetryInfo). Everything that changes something carries a
request id or names a state to reach, so a call whose answer got lost is answered the same again.
"""

import random
from dataclasses import dataclass

from atelier.errors import CallError


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How patient a client is."""

    # Calls in all, the first one included.
    attempts_max: int = 8
    first_delay_seconds: float = 0.2
    # One step of back-off waits at most so long; a server's own hint may be longer.
    delay_seconds_max: float = 10.0
    # A hint beyond this is not waited for: the error is the caller's to handle.
    hint_seconds_max: float = 60.0

    def delay_seconds(self, error: CallError, *, failed_attempts: int) -> float | None:
        """Tell how long to wait before the next attempt; None means to give up."""
        hint = error.status.retry_delay_seconds
        worth_it = error.status.code == "UNAVAILABLE" or (
            error.status.code == "RESOURCE_EXHAUSTED" and hint is not None
        )
        if not worth_it or failed_attempts >= self.attempts_max:
            return None
        if hint is not None and hint > self.hint_seconds_max:
            return None
        backoff = min(self.first_delay_seconds * 2 ** (failed_attempts - 1), self.delay_seconds_max)
        # Half of it is drawn, so that clients that failed together do not come back together.
        drawn = backoff * (0.5 + 0.5 * random.random())  # noqa: S311 - not for secrets
        return max(drawn, hint or 0.0)


NO_RETRIES = RetryPolicy(attempts_max=1)
