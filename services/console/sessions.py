"""Who is logged in: sessions in the memory of this process, and nowhere else.

The browser holds a random number, the process the key it stands for. A restart logs everybody out,
which is the price of never writing a customer's key to a disk.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from hmac import compare_digest
from typing import Final
from zoneinfo import ZoneInfo

from services.console.doors import Door, Doors

_TOKEN_BYTES: Final = 32


class Role(StrEnum):
    """What a key may do, as far as pages differ by it."""

    MEMBER = "member"
    ADMIN = "admin"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Whose key opened the session."""

    tenant_id: str
    display_name: str
    role: Role
    currency: str
    time_zone: ZoneInfo

    @property
    def is_operator(self) -> bool:
        return self.role is Role.OPERATOR

    @property
    def manages(self) -> bool:
        """May see invoices, keys and budgets of its tenant."""
        return self.role is Role.ADMIN


@dataclass(slots=True, kw_only=True, eq=False)
class Session:
    """One log-in."""

    session_id: str = field(repr=False)
    api_key: str = field(repr=False)
    csrf_token: str = field(repr=False)
    visitor: Visitor
    door: Door = field(repr=False)
    start_seconds: float
    seen_seconds: float
    # When the gateway last let the key in; pictures from our own memory are shown only then.
    confirmed_seconds: float
    live_pages: int = 0
    ended: bool = False

    def forms_token_matches(self, token: str) -> bool:
        return compare_digest(token.encode(), self.csrf_token.encode())


class Sessions:
    """All of them, with an end for those that are idle, old, or one too many."""

    def __init__(
        self,
        doors: Doors,
        *,
        idle_seconds: float,
        seconds_max: float,
        sessions_max: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._doors = doors
        self._idle_seconds = idle_seconds
        self._seconds_max = seconds_max
        self._sessions_max = sessions_max
        self._clock = clock
        self._sessions: dict[str, Session] = {}

    async def start(self, api_key: str, visitor: Visitor) -> Session:
        """Log somebody in under a fresh number, so that one known before is worth nothing."""
        await self.end_expired()
        if len(self._sessions) >= self._sessions_max:
            await self.end(min(self._sessions.values(), key=lambda one: one.seen_seconds))
        now = self._clock()
        session = Session(
            session_id=secrets.token_urlsafe(_TOKEN_BYTES),
            api_key=api_key,
            csrf_token=secrets.token_urlsafe(_TOKEN_BYTES),
            visitor=visitor,
            door=self._doors.take(api_key),
            start_seconds=now,
            seen_seconds=now,
            confirmed_seconds=now,
        )
        self._sessions[session.session_id] = session
        return session

    async def find(self, session_id: str, *, by_a_person: bool = True) -> Session | None:
        """Return a session that still holds; what pages ask by themselves keeps none alive."""
        session = self._sessions.get(session_id)
        if session is None:
            return None
        if self._is_over(session):
            await self.end(session)
            return None
        if by_a_person:
            session.seen_seconds = self._clock()
        return session

    async def end(self, session: Session) -> None:
        if self._sessions.pop(session.session_id, None) is not None:
            session.ended = True
            await self._doors.give_back(session.api_key)

    async def end_expired(self) -> None:
        for session in list(self._expired()):
            await self.end(session)

    def __len__(self) -> int:
        return len(self._sessions)

    def _expired(self) -> Iterator[Session]:
        return (session for session in self._sessions.values() if self._is_over(session))

    def _is_over(self, session: Session) -> bool:
        now = self._clock()
        return (
            now - session.seen_seconds >= self._idle_seconds
            or now - session.start_seconds >= self._seconds_max
        )
