"""What a tenant may burn by creating and cancelling.

Cancelled images cost nothing, and a job that is cancelled before it is drawn may still have moved
another tenant's worker off a device. Both burn GPU time that nobody pays. Each tenant's unpaid
seconds are counted; pictures that were drawn and time work them off. Above the limit the tenant
gets no device until half of it is worked off.
"""

from dataclasses import dataclass
from typing import Final

# A tenth of one GPU at most can be burnt for good.
FORGIVEN_PER_SECOND: Final = 0.1


@dataclass(slots=True, kw_only=True)
class _Burnt:
    seconds: float = 0.0
    last_time: float
    is_restrained: bool = False


class BurnLimit:
    """The unpaid GPU-seconds of all tenants; `now` is monotonic seconds."""

    def __init__(self, *, burnt_seconds_max: float) -> None:
        self._burnt_seconds_max = burnt_seconds_max
        self._burnt: dict[str, _Burnt] = {}

    def note_burnt(self, tenant_id: str, seconds: float, *, now: float) -> None:
        """Count a cold start the tenant caused, or work that it cancelled."""
        self._now_of(tenant_id, now).seconds += seconds

    def note_drawn(self, tenant_id: str, seconds: float, *, now: float) -> None:
        """Count what became a picture."""
        burnt = self._now_of(tenant_id, now)
        burnt.seconds = max(burnt.seconds - seconds, 0.0)

    def is_restrained(self, tenant_id: str, *, now: float) -> bool:
        """Whether the tenant has to wait."""
        if tenant_id not in self._burnt:
            return False
        burnt = self._now_of(tenant_id, now)
        limit = self._burnt_seconds_max / 2 if burnt.is_restrained else self._burnt_seconds_max
        burnt.is_restrained = burnt.seconds > limit
        if burnt.seconds == 0.0:
            del self._burnt[tenant_id]
        return burnt.is_restrained

    def _now_of(self, tenant_id: str, now: float) -> _Burnt:
        burnt = self._burnt.setdefault(tenant_id, _Burnt(last_time=now))
        forgiven = (now - burnt.last_time) * FORGIVEN_PER_SECOND
        burnt.seconds = max(burnt.seconds - forgiven, 0.0)
        burnt.last_time = now
        return burnt
