"""Async methods as ordinary ones: the logic exists once, in the async client.

One event loop runs in a thread of its own for all clients of the process: gRPC's asyncio has one
queue of events for a whole process, and a loop that is closed while others live is still called.
`Blocking(AsyncClient.get_job)` is a method with the same
parameters that waits for the answer; `BlockingIterator` does the same for what is iterated over.
"""

import asyncio
import functools
import os
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
ResultT = TypeVar("ResultT")
TargetT = TypeVar("TargetT")
TargetT_co = TypeVar("TargetT_co", covariant=True)


class BackgroundLoop:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        # A loop holds its tasks weakly.
        self._closings: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._serve, name="atelier-client", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Wait for a coroutine; whoever is interrupted while waiting cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncGenerator[ResultT, None]) -> Generator[ResultT, None, None]:
        """Yield what an async generator yields; leaving early closes it."""
        try:
            while True:
                try:
                    item = self.run(_next(items))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            self._close(items)

    def _close(self, items: AsyncGenerator[Any, None]) -> None:
        """Close what is iterated over, and wait for it wherever waiting can end.

        An iterator that was forgotten half-way is closed by whoever collects garbage: that can be
        this loop's own thread, or the interpreter at its end, when the thread runs no more.
        """
        if sys.is_finalizing():
            return
        if threading.current_thread() is self._thread:
            closing = self._loop.create_task(_ended(items))
            self._closings.add(closing)
            closing.add_done_callback(self._closings.discard)
        else:
            self.run(items.aclose())

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


@functools.cache
def shared_loop() -> BackgroundLoop:
    """Return the loop of this process; a child that was forked makes its own."""
    return BackgroundLoop()


os.register_at_fork(after_in_child=shared_loop.cache_clear)


async def _ended(items: AsyncGenerator[Any, None]) -> None:
    await items.aclose()


async def _next(items: AsyncGenerator[ResultT, None]) -> ResultT:
    return await anext(items)


class Facade(Protocol[TargetT_co]):
    """What stands for an async object: the object, and the loop it lives in."""

    @property
    def target(self) -> TargetT_co: ...
    @property
    def loop(self) -> BackgroundLoop: ...


class Blocking(Generic[TargetT, P, ResultT]):
    """A method that waits for the async one of the same parameters."""

    def __init__(
        self, method: Callable[Concatenate[TargetT, P], Coroutine[Any, Any, ResultT]]
    ) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(
        self, instance: Facade[TargetT], owner: type[object] | None = None
    ) -> Callable[P, ResultT]:
        @functools.wraps(self._method)
        def wait(*args: P.args, **kwargs: P.kwargs) -> ResultT:
            return instance.loop.run(self._method(instance.target, *args, **kwargs))

        return wait


class BlockingIterator(Generic[TargetT, P, ResultT]):
    """A method that iterates over what the async one of the same parameters yields."""

    def __init__(
        self, method: Callable[Concatenate[TargetT, P], AsyncGenerator[ResultT, None]]
    ) -> None:
        self._method = method
        self.__doc__ = method.__doc__

    def __get__(
        self, instance: Facade[TargetT], owner: type[object] | None = None
    ) -> Callable[P, Generator[ResultT, None, None]]:
        @functools.wraps(self._method)
        def iterate(*args: P.args, **kwargs: P.kwargs) -> Generator[ResultT, None, None]:
            return instance.loop.iterate(self._method(instance.target, *args, **kwargs))

        return iterate
