"""What waits for the async client never waits for itself."""

import gc
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator

import pytest

from atelier.blocking import BackgroundLoop, shared_loop

LEFT_AT_EXIT = """
from atelier.blocking import shared_loop

async def numbers():
    for number in range(3):
        yield number

kept = shared_loop().iterate(numbers())
print(next(kept))
"""


class Numbers:
    """Three numbers, and whether whoever asked for them has let go."""

    def __init__(self) -> None:
        self.is_closed = False

    async def __call__(self) -> AsyncGenerator[int, None]:
        try:
            for number in range(3):
                yield number
        finally:
            self.is_closed = True


class Cycle:
    """Only the garbage collector finds it."""

    def __init__(self, iterator: Iterator[int]) -> None:
        self.iterator = iterator
        self.me = self


@pytest.fixture
def loop() -> BackgroundLoop:
    return shared_loop()


def test_an_iterator_left_early_is_closed_at_once(loop: BackgroundLoop) -> None:
    numbers = Numbers()
    iterator = loop.iterate(numbers())
    next(iterator)

    iterator.close()

    assert numbers.is_closed


@pytest.mark.timeout(20)
def test_an_iterator_that_the_loop_itself_collects_does_not_stop_it(loop: BackgroundLoop) -> None:
    numbers = Numbers()
    gc.collect()
    cycle = Cycle(loop.iterate(numbers()))
    next(cycle.iterator)
    del cycle

    async def collect() -> None:
        gc.collect()

    loop.run(collect())

    async def nothing() -> None: ...

    loop.run(nothing())
    assert numbers.is_closed


def test_a_program_ends_though_it_keeps_an_iterator() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LEFT_AT_EXIT], check=True, capture_output=True, text=True, timeout=30
    )

    assert ended.stdout == "0\n"
