"""From the metadata of a call to its caller: key form, look-up, secret, expiry, revocation.

Noise is refused by its checksum without asking the database. What was looked up is believed for
less than a second, so that a revocation takes effect within a second on every replica.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from services.gateway import errors
from services.gateway.callers import Caller
from tenants.api_keys import PresentedKey, Role, StoredKey, matches, parse_key
from tenants.ids import KeyId
from tenants.tenant_store import TenantState

_SCHEME: Final = "bearer "
# Longer than any key; what is longer is not looked at.
_AUTHORIZATION_LENGTH_MAX: Final = 256
_CACHED_KEYS_MAX: Final = 10_000
# Compared when there is no such key, so that a missing key and a wrong secret take the same time.
_NO_SECRET: Final = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """What the database tells of a key; ``tenant_state`` is None for operators' keys."""

    key: StoredKey
    tenant_state: TenantState | None


class KeyDirectory(Protocol):
    """Where keys are looked up."""

    async def find(self, key_id: KeyId) -> KeyFacts | None:
        """Return the facts of a key, None when there is no such key or its tenant is gone."""
        ...


class Authenticator:
    """Turns the ``authorization`` metadata into a caller."""

    def __init__(
        self,
        directory: KeyDirectory,
        *,
        pepper: bytes,
        cache_seconds: float,
        monotonic_seconds: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._directory = directory
        self._pepper = pepper
        self._cache_seconds = cache_seconds
        self._monotonic_seconds = monotonic_seconds
        self._now = now
        self._lookups: OrderedDict[KeyId, _Lookup] = OrderedDict()

    async def authenticate(self, authorization: str | None) -> Caller:
        """Return the caller, or say why not.

        Raises:
            CallRefusedError: KEY_INVALID, KEY_EXPIRED or KEY_REVOKED.
        """
        presented = _presented_key(authorization)
        if presented is None:
            raise errors.key_invalid()
        facts = await self._facts(presented.key_id)
        secret_hmac = facts.key.secret_hmac if facts else _NO_SECRET
        if not matches(presented, secret_hmac=secret_hmac, pepper=self._pepper) or facts is None:
            raise errors.key_invalid()
        self._refuse_unless_valid(facts)
        return Caller(
            tenant_id=facts.key.tenant_id,
            key_id=facts.key.key_id,
            role=Role(facts.key.role),
            project=facts.key.project,
            suspended=facts.tenant_state == TenantState.SUSPENDED,
        )

    def _refuse_unless_valid(self, facts: KeyFacts) -> None:
        if facts.key.revoke_time is not None:
            raise errors.key_revoked(facts.key.key_id)
        if facts.key.expire_time is not None and facts.key.expire_time <= self._now():
            raise errors.key_expired(facts.key.key_id)

    async def _facts(self, key_id: KeyId) -> KeyFacts | None:
        """Look a key up, or share a look-up that began less than ``cache_seconds`` ago."""
        now_seconds = self._monotonic_seconds()
        lookup = self._lookups.get(key_id)
        if lookup is None or now_seconds - lookup.start_seconds >= self._cache_seconds:
            task = asyncio.create_task(self._directory.find(key_id))
            lookup = _Lookup(start_seconds=now_seconds, task=task)
            self._remember(key_id, lookup)
        try:
            # Shielded: others may wait for the same look-up when this caller goes away.
            return await asyncio.shield(lookup.task)
        except Exception:
            self._forget(key_id, lookup)
            raise

    def _remember(self, key_id: KeyId, lookup: "_Lookup") -> None:
        self._lookups[key_id] = lookup
        self._lookups.move_to_end(key_id)
        while len(self._lookups) > _CACHED_KEYS_MAX:
            self._lookups.popitem(last=False)

    def _forget(self, key_id: KeyId, lookup: "_Lookup") -> None:
        if self._lookups.get(key_id) is lookup:
            del self._lookups[key_id]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lookup:
    start_seconds: float
    task: asyncio.Task[KeyFacts | None]


def _presented_key(authorization: str | None) -> PresentedKey | None:
    if authorization is None or len(authorization) > _AUTHORIZATION_LENGTH_MAX:
        return None
    if not authorization.lower().startswith(_SCHEME):
        return None
    return parse_key(authorization[len(_SCHEME) :].strip())
