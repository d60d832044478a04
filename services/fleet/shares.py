"""How much GPU time each tenant has had, so that who had least comes next.

Start-time fair queueing on devices: seconds held while there was work, divided by the tenant's
weight. A tenant that comes back after a pause begins at the level of those that stayed: time
nobody asked for cannot be saved up, and being alone on the machine is not held against anybody.
"""

from collections.abc import Mapping


class Shares:
    """The accounts of all tenants."""

    def __init__(self) -> None:
        self._used_seconds: dict[str, float] = {}
        self._with_work: frozenset[str] = frozenset()
        # The least that anybody with work has had; it never falls.
        self._level_seconds = 0.0

    def advance(
        self, seconds: float, *, device_counts: Mapping[str, int], weights: Mapping[str, float]
    ) -> None:
        """Book time that has passed; `weights` names the tenants that have work."""
        with_work = frozenset(weights)
        for tenant_id in with_work - self._with_work:
            used_seconds = self._used_seconds.get(tenant_id, 0.0)
            self._used_seconds[tenant_id] = max(used_seconds, self._level_seconds)
        for tenant_id in with_work & self._with_work:
            held_seconds = seconds * device_counts.get(tenant_id, 0)
            self._used_seconds[tenant_id] += held_seconds / weights[tenant_id]
        self._with_work = with_work
        if with_work:
            least = min(self._used_seconds[tenant_id] for tenant_id in with_work)
            self._level_seconds = max(self._level_seconds, least)

    def used_seconds(self, tenant_id: str) -> float:
        return self._used_seconds.get(tenant_id, 0.0)

    def forget_all_but(self, tenant_ids: frozenset[str]) -> None:
        """Drop the accounts of tenants that are gone."""
        for tenant_id in self._used_seconds.keys() - tenant_ids:
            del self._used_seconds[tenant_id]
