"""Live parts of pages: HTML as server-sent events, only what changed."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from starlette.responses import StreamingResponse

from services.console.errors import TooManyLivePagesError
from services.console.followed import Followed, View
from services.console.sessions import Session
from services.console.visit import Visit

ViewT = TypeVar("ViewT", bound=View)

# Proxies and browsers give up on silence; this is well within their patience.
_SILENCE_SECONDS_MAX: Final = 10.0
# What changes more often than this is shown at once.
_REST_SECONDS: Final = 0.4


def live_response(
    visit: Visit,
    followed: Followed[ViewT],
    name: str,
    events: Callable[[ViewT, int], Iterator[tuple[str, str]]],
) -> StreamingResponse:
    """Send a view's events as it changes, until it is over, or the page or the session is gone.

    ``events`` gets the view and the version it was asked at last; it yields names and HTML.
    """
    if visit.session.live_pages >= visit.parts.settings.live_pages_per_session_max:
        raise TooManyLivePagesError
    return StreamingResponse(_stream(visit, followed, name, events), media_type="text/event-stream")


async def _stream(
    visit: Visit,
    followed: Followed[ViewT],
    name: str,
    events: Callable[[ViewT, int], Iterator[tuple[str, str]]],
) -> AsyncGenerator[bytes, None]:
    session = visit.session
    with _counted(session), followed.listening(name) as (view, changed):
        sent: dict[str, str] = {}
        version = 0
        # The page was just drawn; at once, so that the browser knows the stream is open.
        yield b": open\n\n"
        while not session.ended:
            if not await _set_within(changed, seconds=_SILENCE_SECONDS_MAX):
                yield b": still here\n\n"
                continue
            changed.clear()
            version, asked_at = view.version, version
            banner = "" if view.gateway_answers else visit.html("parts/gateway_down.html")
            for event, html in (("gateway", banner), *events(view, asked_at)):
                if sent.get(event, "") != html:
                    sent[event] = html
                    yield event_bytes(event, html)
            if view.is_over:
                break
            await asyncio.sleep(_REST_SECONDS)
        yield event_bytes("over", "")


@contextmanager
def _counted(session: Session) -> Generator[None]:
    session.live_pages += 1
    try:
        yield
    finally:
        session.live_pages -= 1


async def _set_within(event: asyncio.Event, *, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


def event_bytes(name: str, html: str) -> bytes:
    """Write an event; each line of the HTML is a line of data."""
    lines = html.splitlines() or [""]
    data = "".join(f"data: {line}\n" for line in lines)
    return f"event: {name}\n{data}\n".encode()
