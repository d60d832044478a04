"""Tokens are published after the commit, beside the answer, and never make a call fail.

What cannot be published is only logged: the housekeeper counts what is missing and tops it up.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog

from services.dispatch.errors import DispatchError
from services.dispatch.token_publisher import publish_tokens
from services.transport.broker_places import BrokerPlaces
from tenants.ids import TenantId

# With a broker that hangs, more would only pile up; the housekeeper is there for the rest.
_PENDING_MAX: Final = 64

_log = structlog.get_logger()


class TokenDispatch:
    """Publishes in the background, at most so many at a time."""

    def __init__(self, brokers: BrokerPlaces) -> None:
        self._brokers = brokers
        self._pending: set[asyncio.Task[None]] = set()

    def publish_soon(self, tenant_id: TenantId, counts: Mapping[str, int]) -> None:
        """Publish so many tokens for each model."""
        for model, count in counts.items():
            if len(self._pending) >= _PENDING_MAX:
                _log.warning("tokens left to the housekeeper", tenant=tenant_id, count=count)
                continue
            task = asyncio.create_task(self._publish(tenant_id, model=model, count=count))
            self._pending.add(task)
            task.add_done_callback(self._pending.discard)

    async def finish(self) -> None:
        """Wait for what is under way."""
        await asyncio.gather(*self._pending)

    async def _publish(self, tenant_id: TenantId, *, model: str, count: int) -> None:
        try:
            await asyncio.to_thread(
                publish_tokens, self._brokers, tenant_id=tenant_id, model=model, count=count
            )
        except DispatchError as error:
            _log.warning(
                "tokens left to the housekeeper",
                tenant=tenant_id,
                model=model,
                count=count,
                error=str(error),
            )
