"""What the gateway believes of keys, for less than a second, and how often it asks.

What tokens open is looked up the same way.

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
from typing import Final, Generic, Protocol, TypeVar, cast

from services.gateway import errors
from services.gateway.callers import NO_LIMITS, CallLimits
from services.gateway.rate_limits import RateLimits
from tenants.api_key_store import subject_of_tenant
from tenants.api_keys import StoredKey
from tenants.ids import KeyId, TenantId
from tenants.tenant_store import TenantState

_STRANGERS: Final = "strangers"
Remembered = TypeVar("Remembered")


class FactsOfTenant(Protocol):
    """What is looked up belongs to a tenant."""

    @property
    def tenant_id(self) -> TenantId: ...


# What somebody is found by, a key's id or what a token says, and what is found.
Name = TypeVar("Name", bound=str)
Facts = TypeVar("Facts", bound=FactsOfTenant)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """What the database tells of a key; ``tenant_state`` is None for operators' keys."""

    key: StoredKey
    tenant_state: TenantState | None
    limits: CallLimits = NO_LIMITS

    @property
    def tenant_id(self) -> TenantId:
        """Whose key it is."""
        return self.key.tenant_id


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


Name_contra = TypeVar("Name_contra", bound=str, contravariant=True)
Facts_co = TypeVar("Facts_co", bound=FactsOfTenant, covariant=True)


class Directory(Protocol[Name_contra, Facts_co]):
    """Where keys, or what tokens open, are looked up."""

    async def find(self, name: Name_contra, /) -> Facts_co | None:
        """Return the facts, None when there is no such key or its tenant is gone."""
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


class Lookups(Generic[Name, Facts]):
    """Facts, from memory or from the directory. Of one event loop."""

    def __init__(
        self,
        directory: Directory[Name, Facts],
        limits: LookupLimits,
        *,
        monotonic_seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._limits = limits
        self._monotonic_seconds = monotonic_seconds
        self._known: OrderedDict[Name, _Lookup[Facts]] = OrderedDict()
        self._unknown: OrderedDict[Name, float] = OrderedDict()
        self._meetings: dict[Name, asyncio.Task[Facts | None]] = {}
        self._at_once = asyncio.Semaphore(limits.strangers_at_once_max)
        self._rates = RateLimits(names_max=limits.keys_max)

    async def find(self, name: Name) -> Facts | None:
        """Return what is believed of a key; None when there is none.

        Raises:
            CallRefusedError: RATE_LIMITED, when too many strangers come at once.
        """
        lookup = self._known.get(name)
        if lookup is None:
            return await self._find_stranger(name)
        self._known.move_to_end(name)
        if self._is_over(lookup.start_seconds, self._limits.cache_seconds):
            lookup = self._look_up(name)
        return await self._answer(name, lookup)

    async def refresh(self, name: Name) -> Facts | None:
        """Look a known key up again before its time, unless that was done too often."""
        if self._rates.wait_seconds(name, per_minute_max=self._limits.refreshes_per_minute_max):
            return await self.find(name)
        return await self._answer(name, self._look_up(name))

    def forget(self, subject: str) -> None:
        """Believe nothing of a key (or of all keys of a tenant, or of any when empty) any more.

        They stay known, so that they are looked up ahead of strangers.
        """
        named = cast("Name", subject)
        one = self._known.get(named)
        if one is not None:
            self._known[named] = one.out_of_date()
            return
        for name, lookup in self._known.items():
            if not subject or lookup.is_of_tenant(subject):
                self._known[name] = lookup.out_of_date()

    @property
    def remembered_count(self) -> int:
        """How many ids are held in memory."""
        return len(self._known) + len(self._unknown) + len(self._meetings)

    def _look_up(self, name: Name) -> "_Lookup[Facts]":
        task = asyncio.create_task(self._directory.find(name))
        lookup = _Lookup(start_seconds=self._monotonic_seconds(), task=task)
        self._known[name] = lookup
        return lookup

    async def _answer(self, name: Name, lookup: "_Lookup[Facts]") -> Facts | None:
        try:
            # Shielded: others may wait for the same look-up when this caller goes away.
            return await asyncio.shield(lookup.task)
        except Exception:
            # It stays known, and is looked up again by the next who asks.
            if self._known.get(name) is lookup:
                self._known[name] = lookup.out_of_date()
            raise

    async def _find_stranger(self, name: Name) -> Facts | None:
        asked_seconds = self._unknown.get(name)
        if asked_seconds is not None and not self._is_over(
            asked_seconds, self._limits.unknown_seconds
        ):
            return None
        if name not in self._meetings:
            self._refuse_a_flood()
            self._meetings[name] = asyncio.create_task(self._meet(name))
        return await asyncio.shield(self._meetings[name])

    def _refuse_a_flood(self) -> None:
        is_full = len(self._meetings) >= self._limits.strangers_waiting_max
        if is_full or self._rates.wait_seconds(
            _STRANGERS, per_minute_max=self._limits.strangers_per_minute_max
        ):
            raise errors.rate_limited(subject="gateway", description="too many unknown keys")

    async def _meet(self, name: Name) -> Facts | None:
        """Ask for a stranger, and remember what came of it."""
        try:
            async with self._at_once:
                start_seconds = self._monotonic_seconds()
                facts = await self._directory.find(name)
        finally:
            del self._meetings[name]
        if facts is None:
            self._unknown[name] = start_seconds
            _drop_oldest(self._unknown, self._limits.keys_max)
        else:
            self._unknown.pop(name, None)
            self._known[name] = _Lookup(start_seconds=start_seconds, task=_done(facts))
            _drop_oldest(self._known, self._limits.keys_max)
        return facts

    def _is_over(self, start_seconds: float, seconds: float) -> bool:
        return self._monotonic_seconds() - start_seconds >= seconds


KeyLookups = Lookups[KeyId, KeyFacts]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lookup(Generic[Facts]):
    start_seconds: float
    task: asyncio.Future[Facts | None]

    def is_of_tenant(self, subject: str) -> bool:
        if not self.task.done() or self.task.cancelled() or self.task.exception() is not None:
            # It may have read what was so before the news.
            return True
        facts = self.task.result()
        return facts is not None and subject_of_tenant(facts.tenant_id) == subject

    def out_of_date(self) -> "_Lookup[Facts]":
        return _Lookup(start_seconds=float("-inf"), task=self.task)


def _done(facts: Facts) -> asyncio.Future[Facts | None]:
    future: asyncio.Future[Facts | None] = asyncio.get_running_loop().create_future()
    future.set_result(facts)
    return future


def _drop_oldest(remembered: OrderedDict[Name, Remembered], count_max: int) -> None:
    while len(remembered) > count_max:
        remembered.popitem(last=False)
