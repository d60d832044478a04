"""Async methods as ordinary ones: the logic exists once, in the async client.

An event loop runs in a thread of its own. `Blocking(AsyncClient.get_job)` is a method with the same
parameters that waits for the answer; `BlockingIterator` does the same for what is iterated over.
"""

import asyncio
import functools
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
            # A generator that was forgotten may be collected after its client was closed.
            if not self._loop.is_closed():
                self.run(items.aclose())

    def close(self) -> None:
        if self._loop.is_closed():
            return
        self.run(self._loop.shutdown_asyncgens())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


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
