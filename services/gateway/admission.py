"""How many calls may be in flight; who comes above that is refused at once, not queued.

grpc.aio's own ``maximum_concurrent_rpcs`` can be bypassed (grpc #41531) and refuses without a
reason a client could read, so the gateway counts by itself.
"""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from services.gateway.errors import rate_limited
from tenants.ids import TenantId


class AdmissionGate:
    """Counts calls in flight, in all and per tenant, in one event loop."""

    def __init__(self, *, calls_max: int, calls_per_tenant_max: int) -> None:
        self.calls_max = calls_max
        self._calls_per_tenant_max = calls_per_tenant_max
        self._calls = 0
        self._calls_of_tenant: Counter[TenantId] = Counter()

    @property
    def calls_in_flight(self) -> int:
        """Calls admitted and not yet ended."""
        return self._calls

    @contextmanager
    def admit(self) -> Generator[None]:
        """Admit one call for as long as the block runs, before anything is known of its caller.

        Raises:
            CallRefusedError: RATE_LIMITED, when the gateway is full.
        """
        if self._calls >= self.calls_max:
            raise rate_limited(subject="gateway")
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    @contextmanager
    def admit_tenant(self, tenant_id: TenantId, *, calls_max: int | None = None) -> Generator[None]:
        """Admit a call of a known tenant, so that one tenant cannot take every place.

        ``calls_max`` is the tenant's own limit; None: the gate's.

        Raises:
            CallRefusedError: RATE_LIMITED, when the tenant has too many calls in flight.
        """
        if self._calls_of_tenant[tenant_id] >= (calls_max or self._calls_per_tenant_max):
            raise rate_limited(subject=f"tenants/{tenant_id}")
        self._calls_of_tenant[tenant_id] += 1
        try:
            yield
        finally:
            self._calls_of_tenant[tenant_id] -= 1
            if not self._calls_of_tenant[tenant_id]:
                del self._calls_of_tenant[tenant_id]
