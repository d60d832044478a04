"""What the gateway believes of keys, for less than a second, and how often it asks.

Known keys are looked up again whenever their time is over; nothing keeps them waiting. Strangers
(ids that this replica has not met, most of them forged) share a bounded number of look-ups, so that
a flood of well-formed keys costs the database a little and memory nothing that grows. Many who ask
for the same key at once share one look-up.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

from services.gateway import errors
from services.gateway.callers import NO_LIMITS, CallLimits
from services.gateway.rate_limits import RateLimits
from tenants.api_key_store import subject_of_tenant
from tenants.api_keys import StoredKey
from tenants.ids import KeyId, TenantId
from tenants.tenant_store import TenantState

_STRANGERS: Final = "strangers"
Remembered = TypeVar("Remembered")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """What the database tells of a key; ``tenant_state`` is None for operators' keys."""

    key: StoredKey
    tenant_state: TenantState | None
    limits: CallLimits = NO_LIMITS


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantFacts:
    """What the database tells of the tenant that a certificate names."""

    state: TenantState
    limits: CallLimits = NO_LIMITS


class TenantDirectory(Protocol):
    """Where the tenants of certificates are looked up."""

    async def find_tenant(self, tenant_id: TenantId) -> TenantFacts | None:
        """Return the facts of a tenant, None when there is no such tenant."""
        ...


class KeyDirectory(Protocol):
    """Where keys are looked up."""

    async def find(self, key_id: KeyId) -> KeyFacts | None:
        """Return the facts of a key, None when there is no such key or its tenant is gone."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupLimits:
    """How much is remembered and asked."""

    # Facts are believed so long, from before the database was asked.
    cache_seconds: float
    # So long an id that did not exist is not asked for again. Ids are random and are told to
    # nobody before their key is stored, so nobody who holds a key waits for this.
    unknown_seconds: float = 60.0
    # Of each kind; the one that was used longest ago goes first.
    keys_max: int = 10_000
    strangers_per_minute_max: int = 6_000
    strangers_at_once_max: int = 4
    # Those who wait for a look-up hold places of calls in flight, which are others' too.
    strangers_waiting_max: int = 64
    # Of one key, beyond those that its time asks for: a secret that does not fit may be newer.
    refreshes_per_minute_max: int = 60


class KeyLookups:
    """Facts of keys, from memory or from the directory. Of one event loop."""

    def __init__(
        self,
        directory: KeyDirectory,
        limits: LookupLimits,
        *,
        monotonic_seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._limits = limits
        self._monotonic_seconds = monotonic_seconds
        self._known: OrderedDict[KeyId, _Lookup] = OrderedDict()
        self._unknown: OrderedDict[KeyId, float] = OrderedDict()
        self._meetings: dict[KeyId, asyncio.Task[KeyFacts | None]] = {}
        self._at_once = asyncio.Semaphore(limits.strangers_at_once_max)
        self._rates = RateLimits(names_max=limits.keys_max)

    async def find(self, key_id: KeyId) -> KeyFacts | None:
        """Return what is believed of a key; None when there is none.

        Raises:
            CallRefusedError: RATE_LIMITED, when too many strangers come at once.
        """
        lookup = self._known.get(key_id)
        if lookup is None:
            return await self._find_stranger(key_id)
        self._known.move_to_end(key_id)
        if self._is_over(lookup.start_seconds, self._limits.cache_seconds):
            lookup = self._look_up(key_id)
        return await self._answer(key_id, lookup)

    async def refresh(self, key_id: KeyId) -> KeyFacts | None:
        """Look a known key up again before its time, unless that was done too often."""
        if self._rates.wait_seconds(key_id, per_minute_max=self._limits.refreshes_per_minute_max):
            return await self.find(key_id)
        return await self._answer(key_id, self._look_up(key_id))

    def forget(self, subject: str) -> None:
        """Believe nothing of a key (or of all keys of a tenant, or of any when empty) any more.

        They stay known, so that they are looked up ahead of strangers.
        """
        one = self._known.get(KeyId(subject))
        if one is not None:
            self._known[KeyId(subject)] = one.out_of_date()
            return
        for key_id, lookup in self._known.items():
            if not subject or lookup.is_of_tenant(subject):
                self._known[key_id] = lookup.out_of_date()

    @property
    def remembered_count(self) -> int:
        """How many ids are held in memory."""
        return len(self._known) + len(self._unknown) + len(self._meetings)

    def _look_up(self, key_id: KeyId) -> "_Lookup":
        task = asyncio.create_task(self._directory.find(key_id))
        lookup = _Lookup(start_seconds=self._monotonic_seconds(), task=task)
        self._known[key_id] = lookup
        return lookup

    async def _answer(self, key_id: KeyId, lookup: "_Lookup") -> KeyFacts | None:
        try:
            # Shielded: others may wait for the same look-up when this caller goes away.
            return await asyncio.shield(lookup.task)
        except Exception:
            # It stays known, and is looked up again by the next who asks.
            if self._known.get(key_id) is lookup:
                self._known[key_id] = lookup.out_of_date()
            raise

    async def _find_stranger(self, key_id: KeyId) -> KeyFacts | None:
        asked_seconds = self._unknown.get(key_id)
        if asked_seconds is not None and not self._is_over(
            asked_seconds, self._limits.unknown_seconds
        ):
            return None
        if key_id not in self._meetings:
            self._refuse_a_flood()
            self._meetings[key_id] = asyncio.create_task(self._meet(key_id))
        return await asyncio.shield(self._meetings[key_id])

    def _refuse_a_flood(self) -> None:
        is_full = len(self._meetings) >= self._limits.strangers_waiting_max
        if is_full or self._rates.wait_seconds(
            _STRANGERS, per_minute_max=self._limits.strangers_per_minute_max
        ):
            raise errors.rate_limited(subject="gateway", description="too many unknown keys")

    async def _meet(self, key_id: KeyId) -> KeyFacts | None:
        """Ask for a stranger, and remember what came of it."""
        try:
            async with self._at_once:
                start_seconds = self._monotonic_seconds()
                facts = await self._directory.find(key_id)
        finally:
            del self._meetings[key_id]
        if facts is None:
            self._unknown[key_id] = start_seconds
            _drop_oldest(self._unknown, self._limits.keys_max)
        else:
            self._unknown.pop(key_id, None)
            self._known[key_id] = _Lookup(start_seconds=start_seconds, task=_done(facts))
            _drop_oldest(self._known, self._limits.keys_max)
        return facts

    def _is_over(self, start_seconds: float, seconds: float) -> bool:
        return self._monotonic_seconds() - start_seconds >= seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lookup:
    start_seconds: float
    task: asyncio.Future[KeyFacts | None]

    def is_of_tenant(self, subject: str) -> bool:
        if not self.task.done() or self.task.cancelled() or self.task.exception() is not None:
            # It may have read what was so before the news.
            return True
        facts = self.task.result()
        return facts is not None and subject_of_tenant(facts.key.tenant_id) == subject

    def out_of_date(self) -> "_Lookup":
        return _Lookup(start_seconds=float("-inf"), task=self.task)


def _done(facts: KeyFacts) -> asyncio.Future[KeyFacts | None]:
    future: asyncio.Future[KeyFacts | None] = asyncio.get_running_loop().create_future()
    future.set_result(facts)
    return future


def _drop_oldest(remembered: OrderedDict[KeyId, Remembered], count_max: int) -> None:
    while len(remembered) > count_max:
        remembered.popitem(last=False)
