"""Tokens are published after the commit, beside the answer, and never make a call fail.

What cannot be published is only logged: the housekeeper counts what is missing and tops it up.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from services.dispatch.errors import DispatchError
from services.dispatch.token_publisher import publish_tokens
from services.transport.broker_places import BrokerPlaces
from tenants.ids import TenantId

# Threads of their own: a broker that hangs, and a tenant's worker can let its own hang, would take
# those that the rest of the gateway lives by.
_AT_ONCE: Final = 32

_log = structlog.get_logger()


class TokenDispatch:
    """Publishes in the background; each tenant has one place, so that none waits for another's."""

    def __init__(self, brokers: BrokerPlaces) -> None:
        self._brokers = brokers
        self.tokens_left = 0
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="tokens")
        self._under_way: dict[TenantId, asyncio.Task[None]] = {}
        # By model, for tenants that are published for already.
        self._waiting: dict[TenantId, Counter[str]] = {}

    def publish_soon(self, tenant_id: TenantId, counts: Mapping[str, int]) -> None:
        """Publish so many tokens for each model."""
        if tenant_id in self._under_way:
            self._waiting.setdefault(tenant_id, Counter()).update(counts)
        elif len(self._under_way) >= _AT_ONCE:
            self._leave(tenant_id, counts, reason="too many brokers are slow")
        else:
            self._under_way[tenant_id] = asyncio.create_task(self._publish(tenant_id, counts))

    async def finish(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._under_way.values())

    async def _publish(self, tenant_id: TenantId, counts: Mapping[str, int]) -> None:
        try:
            while counts:
                await asyncio.get_running_loop().run_in_executor(
                    self._threads, self._publish_now, tenant_id, counts
                )
                counts = self._waiting.pop(tenant_id, {})
        except DispatchError as error:
            lost = Counter(counts) + self._waiting.pop(tenant_id, Counter())
            self._leave(tenant_id, lost, reason=str(error))
        finally:
            del self._under_way[tenant_id]

    def _publish_now(self, tenant_id: TenantId, counts: Mapping[str, int]) -> None:
        for model, count in counts.items():
            publish_tokens(self._brokers, tenant_id=tenant_id, model=model, count=count)

    def _leave(self, tenant_id: TenantId, counts: Mapping[str, int], *, reason: str) -> None:
        self.tokens_left += sum(counts.values())
        _log.warning(
            "tokens left to the housekeeper", tenant=tenant_id, counts=dict(counts), reason=reason
        )
