"""Many tenants' brokers, asked at once: one that hangs or was filled with rubbish holds nobody up.

A broker is in the hands of a worker that draws strangers' prompts. What cannot be asked now is
asked again at the next sweep; one that took long is left alone for a while; one that
refuses because of what lies in it is put in order, and that is counted.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Final, Protocol, TypeVar

import structlog

from services.dispatch.broker_order import empty_if_hogged, remove_misplaced
from services.dispatch.errors import BrokerDownError, BrokerFullError, BrokerKeysError
from services.dispatch.token_publisher import publish_tokens, queue_length
from services.transport.broker_places import BrokerPlaces
from tenants.ids import TenantId

# One tenant's queue for one model.
QueueKey = tuple[TenantId, str]
T = TypeVar("T")

# More brokers than these have to hang before one that answers waits for them.
_AT_ONCE: Final = 32
# Longer than the client library waits for an answer once.
_SLOW_SECONDS: Final = 2.0
_LEFT_ALONE_SECONDS: Final = 10.0

log = structlog.get_logger()


class _Question(Protocol):
    def __call__(self, brokers: BrokerPlaces, *, tenant_id: str, model: str) -> int: ...


class BrokerDesk:
    """Counts and publishes tokens; ``put_in_order`` is how often whose broker needed it."""

    def __init__(
        self, brokers: BrokerPlaces, *, monotonic_seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self.put_in_order: Counter[TenantId] = Counter()
        self.replaced_count = 0
        self._brokers = brokers
        self._monotonic_seconds = monotonic_seconds
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="brokers")
        self._counting = Lock()
        self._left_alone_until: dict[TenantId, float] = {}

    async def lengths(self, models: Mapping[TenantId, Sequence[str]]) -> dict[QueueKey, int]:
        """Count the tokens of each tenant's models; what cannot be counted is left out."""
        counted = await asyncio.gather(
            *(self._in_thread(self._lengths, tenant_id, of) for tenant_id, of in models.items())
        )
        return {key: length for lengths in counted for key, length in lengths.items()}

    async def publish(self, counts: Mapping[QueueKey, int]) -> None:
        """Publish so many tokens into each queue, as far as brokers take them."""
        by_tenant: dict[TenantId, dict[str, int]] = defaultdict(dict)
        for (tenant_id, model), count in counts.items():
            by_tenant[tenant_id][model] = count
        await asyncio.gather(
            *(self._in_thread(self._publish, tenant, of) for tenant, of in by_tenant.items())
        )

    async def _in_thread(self, work: Callable[..., T], *values: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *values)

    def _lengths(self, tenant_id: TenantId, models: Sequence[str]) -> dict[QueueKey, int]:
        start = self._monotonic_seconds()
        if start < self._left_alone_until.get(tenant_id, start):
            return {}
        asked = {model: self._asked(queue_length, tenant_id, model) for model in models}
        end = self._monotonic_seconds()
        if end - start > _SLOW_SECONDS:
            self._left_alone_until[tenant_id] = end + _LEFT_ALONE_SECONDS
        return {(tenant_id, model): n for model, n in asked.items() if n is not None}

    def _publish(self, tenant_id: TenantId, counts: Mapping[str, int]) -> None:
        for model, count in counts.items():
            # From several threads at once: each adds what its own broker took.
            published = self._asked(partial(_published, count=count), tenant_id, model)
            with self._counting:
                self.replaced_count += published or 0

    def _asked(self, ask: _Question, tenant_id: TenantId, model: str) -> int | None:
        """Ask a broker; None when there is no answer, whatever was done about it."""
        try:
            return ask(self._brokers, tenant_id=tenant_id, model=model)
        except (BrokerKeysError, BrokerFullError) as error:
            self._put_in_order(tenant_id, model, is_full=isinstance(error, BrokerFullError))
        except BrokerDownError as error:
            # The fleet starts it again; until then nothing can be put there.
            log.warning("broker_down", tenant=tenant_id, reason=str(error))
        except Exception:
            # Whatever a broker answered, the sweep goes on for the others.
            log.exception("broker_failed", tenant=tenant_id)
        return None

    def _put_in_order(self, tenant_id: TenantId, model: str, *, is_full: bool) -> None:
        try:
            if is_full and not empty_if_hogged(self._brokers, tenant_id=tenant_id, model=model):
                log.warning("broker_full", tenant=tenant_id, model=model)
                return
            removed = [] if is_full else remove_misplaced(self._brokers.of(tenant_id), queue=model)
        except BrokerDownError as error:
            log.warning("broker_down", tenant=tenant_id, reason=str(error))
            return
        self.put_in_order[tenant_id] += 1
        log.warning("broker_put_in_order", tenant=tenant_id, emptied=is_full, removed=len(removed))


def _published(brokers: BrokerPlaces, *, tenant_id: str, model: str, count: int) -> int:
    publish_tokens(brokers, tenant_id=tenant_id, model=model, count=count)
    log.warning("tokens_replaced", tenant=tenant_id, model=model, count=count)
    return count
