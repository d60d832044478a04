"""What is followed once and seen by many: a hundred open pages cost the gateway one stream.

A follower writes into a view and says so; listeners look at the view when they have time. Whoever
is slow misses intermediate looks, never the newest.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Final, Generic, TypeVar

import structlog

from atelier.errors import CallError, NotAuthenticatedError, NotFoundError

log = structlog.get_logger()

ViewT = TypeVar("ViewT", bound="View")

# A gateway that was restarted is found again within this.
_AGAIN_SECONDS: Final = 2.0


class View:
    """What is known of something that is followed."""

    def __init__(self) -> None:
        self.version = 0
        # False while the gateway does not answer; what is known stays and grows old.
        self.gateway_answers = True
        # Nothing more will come: it has ended, or may no longer be seen.
        self.is_over = False
        self._changed: set[asyncio.Event] = set()

    def tell(self) -> None:
        """Wake whoever listens."""
        self.version += 1
        for event in self._changed:
            event.set()

    @contextmanager
    def heard(self) -> "Generator[asyncio.Event]":
        """Yield what is set at each change; set at first if there is something to see already."""
        event = asyncio.Event()
        if self.version:
            event.set()
        self._changed.add(event)
        try:
            yield event
        finally:
            self._changed.discard(event)

    @property
    def listener_count(self) -> int:
        return len(self._changed)


class Followed(Generic[ViewT]):
    """Views by name; each is followed while somebody listens, and forgotten afterwards."""

    def __init__(
        self,
        make_view: Callable[[str], ViewT],
        follow: Callable[[ViewT], Coroutine[None, None, None]],
        *,
        again_seconds: float = _AGAIN_SECONDS,
    ) -> None:
        self._make_view = make_view
        self._follow = follow
        self._again_seconds = again_seconds
        self._running: dict[str, tuple[ViewT, asyncio.Task[None]]] = {}

    @contextmanager
    def listening(self, name: str) -> Generator[tuple[ViewT, asyncio.Event]]:
        """Follow something as long as the block lasts, together with whoever else does."""
        view, _ = self._running.get(name) or self._begin(name)
        try:
            with view.heard() as changed:
                yield view, changed
        finally:
            if view.listener_count == 0:
                self._forget(name, view)

    def view(self, name: str) -> ViewT | None:
        """Return what is being followed already, without beginning to."""
        running = self._running.get(name)
        return running[0] if running else None

    def stop(self) -> None:
        for name, (view, _) in list(self._running.items()):
            view.is_over = True
            view.tell()
            self._forget(name, view)

    def __len__(self) -> int:
        return len(self._running)

    def _begin(self, name: str) -> tuple[ViewT, asyncio.Task[None]]:
        view = self._make_view(name)
        task = asyncio.create_task(self._follow_to_the_end(view), name=f"follow {name}")
        self._running[name] = (view, task)
        return view, task

    def _forget(self, name: str, view: ViewT) -> None:
        running = self._running.get(name)
        if running is not None and running[0] is view:
            del self._running[name]
            running[1].cancel()

    async def _follow_to_the_end(self, view: ViewT) -> None:
        """Follow over as many tries as it takes; only an end or a refusal is the end."""
        while not view.is_over:
            try:
                await self._follow(view)
                view.is_over = True
            except (NotAuthenticatedError, NotFoundError):
                view.is_over = True
            except CallError as error:
                log.info("gateway_does_not_answer", reason=error.reason or error.status.code)
                view.gateway_answers = False
            view.tell()
            if not view.is_over:
                await asyncio.sleep(self._again_seconds)
