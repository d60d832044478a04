"""What goes with each call: a key that stays, or an identity provider's tokens, fetched in time."""

import asyncio
import base64
import inspect
import json
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

# A function that gives a token, or a coroutine function that does. It may take its time: a plain
# one runs in a thread.
TokenFetcher = Callable[[], str | Awaitable[str]]

# A token is fetched anew so long before it ends, so that none ends on its way.
_AHEAD_SECONDS = 30.0
# One that does not say when it ends is fetched anew after so long.
_UNTOLD_SECONDS = 60.0


class Credentials(Protocol):
    """Gives what a call brings as `authorization: Bearer …`; empty for nothing."""

    async def bearer(self) -> str: ...

    def opened(self, bearer: str) -> None:
        """Note that this one has opened the door."""
        ...

    def may_renew(self, bearer: str) -> bool:
        """Tell whether to come again with another one, after this one was refused."""
        ...


class FixedKey:
    """A key that stays what it is."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key

    async def bearer(self) -> str:
        return self._api_key

    def opened(self, bearer: str) -> None:
        """A key that has opened once may be refused for good."""

    def may_renew(self, bearer: str) -> bool:
        return False


class FetchedTokens:
    """Tokens from a function of the program's own, each used until shortly before its end."""

    def __init__(self, fetch: TokenFetcher, *, now: Callable[[], float] = time.time) -> None:
        self._fetch = fetch
        self._now = now
        self._token = ""
        self._renew_seconds = 0.0
        self._has_opened = False
        self._fetching = asyncio.Lock()

    async def bearer(self) -> str:
        """Return a token that has some time left; many who ask at once share one fetch."""
        async with self._fetching:
            if not self._token or self._now() >= self._renew_seconds:
                self._take(await self._fetched())
            return self._token

    def opened(self, bearer: str) -> None:
        self._has_opened = self._has_opened or bearer == self._token

    def may_renew(self, bearer: str) -> bool:
        """Only a token that has opened before has ended; one that never did is just wrong."""
        if bearer != self._token:
            # Somebody else has fetched another one meanwhile.
            return True
        has_ended = self._has_opened
        self._token, self._has_opened = "", False
        return has_ended

    def _take(self, token: str) -> None:
        now, end_seconds = self._now(), _end_seconds(token)
        if end_seconds is None:
            self._renew_seconds = now + _UNTOLD_SECONDS
        else:
            # Whatever it says, it is not fetched for every call.
            self._renew_seconds = max(end_seconds - _AHEAD_SECONDS, now + 1)
        self._token, self._has_opened = token, False

    async def _fetched(self) -> str:
        token = await asyncio.to_thread(self._fetch)
        return await token if inspect.isawaitable(token) else token


def _end_seconds(token: str) -> float | None:
    """Read `exp` of a JWT without checking anything: the server does."""
    part = token.split(".")[1] if token.count(".") == 2 else ""  # noqa: PLR2004 - head.claims.signature
    try:
        claims = cast("object", json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))
    except ValueError:
        return None
    match claims:
        case {"exp": int(seconds) | float(seconds)}:
            return float(seconds)
        case _:
            return None
