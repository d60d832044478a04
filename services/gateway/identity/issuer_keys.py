"""An issuer's keys as this gateway has them: read in the background, asked for by every new token.

Nobody who calls makes us ask the issuer more often than the limit below, whatever key ids he
invents. While the issuer does not answer, what was read last is used, up to a bound.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

import structlog

from services.gateway import errors
from services.gateway.identity.issuers import Issuer
from services.gateway.identity.signing_keys import SigningKey, SigningKeys

# Between two questions to one issuer: a new key is known so soon after its first token, and a flood
# of invented key ids costs the issuer no more.
ASK_SECONDS_MIN: Final = 10.0
# Who waits here holds a place among the calls in flight, which are others' too.
_WAITING_MAX: Final = 16
_NOTHING: Final[Mapping[tuple[str, str], SigningKey]] = {}

_log = structlog.get_logger()

KeyReader = Callable[[], Awaitable[SigningKeys]]


class IssuerKeys:
    """Keys of one issuer. Of one event loop."""

    def __init__(
        self,
        issuer: Issuer,
        read: KeyReader,
        *,
        monotonic_seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._read = read
        self._monotonic_seconds = monotonic_seconds
        self._keys: SigningKeys = _NOTHING
        self._read_seconds = float("-inf")
        self._asked_seconds = float("-inf")
        self._failure = "not asked yet"
        self._asking: asyncio.Task[None] | None = None
        self._waiting_count = 0

    async def find(self, key_id: str, algorithm: str) -> SigningKey | None:
        """Return a key of the issuer; None when it has none of that name for that algorithm.

        Raises:
            CallRefusedError: BACKEND_DOWN, when the issuer could not be asked; RATE_LIMITED, when
                many wait for its answer already.
        """
        key = self._current().get((key_id, algorithm))
        if key is None and self._may_ask():
            await self._ask_and_wait()
            key = self._current().get((key_id, algorithm))
        if key is None and self._failure:
            # The key may be a new one.
            raise errors.backend_down("the identity provider")
        return key

    async def keep_reading(self) -> None:
        """Read the keys again and again, until cancelled."""
        while True:
            await self._ask_alone()
            soon = ASK_SECONDS_MIN if self._failure else self._issuer.refresh_seconds
            await asyncio.sleep(soon)

    async def finish(self) -> None:
        """End a question that is under way."""
        if self._asking is not None:
            self._asking.cancel()
            with suppress(asyncio.CancelledError):
                await self._asking

    @property
    def failure(self) -> str:
        """What went wrong when the issuer was last asked; empty when nothing did."""
        return self._failure

    @property
    def age_seconds(self) -> float:
        """How long ago the keys were read; infinite when they never were."""
        return self._monotonic_seconds() - self._read_seconds

    def _current(self) -> SigningKeys:
        return self._keys if self.age_seconds < self._issuer.keys_kept_seconds else _NOTHING

    def _may_ask(self) -> bool:
        is_asking = self._asking is not None
        return is_asking or self._monotonic_seconds() - self._asked_seconds >= ASK_SECONDS_MIN

    async def _ask_and_wait(self) -> None:
        if self._waiting_count >= _WAITING_MAX:
            raise errors.rate_limited(subject="gateway", description="too many unknown keys")
        self._waiting_count += 1
        try:
            await self._ask_alone()
        finally:
            self._waiting_count -= 1

    async def _ask_alone(self) -> None:
        """Ask the issuer, or wait for who is asking it already."""
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        # Shielded: others may wait for the same answer when this one goes away.
        await asyncio.shield(self._asking)

    async def _ask(self) -> None:
        self._asked_seconds = self._monotonic_seconds()
        try:
            self._take(await self._read())
        except Exception as error:  # noqa: BLE001 - whatever an issuer answers, we ask again
            self._fail(f"{type(error).__name__}: {error}")
        finally:
            self._asking = None

    def _take(self, keys: SigningKeys) -> None:
        if self._failure or set(keys.values()) != set(self._keys.values()):
            _log.info("issuer_keys_read", issuer=self._issuer.url, key_count=len(keys))
        self._keys = keys
        self._read_seconds = self._asked_seconds
        self._failure = ""

    def _fail(self, failure: str) -> None:
        _log.warning("issuer_keys_not_read", issuer=self._issuer.url, failure=failure)
        self._failure = failure
