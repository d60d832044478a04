"""Ctrl-C and SIGTERM: the first ends the installation in good order, the second at once."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequested(BaseException):
    """Raised wherever the main thread is, once; no `except Exception` holds it."""


@contextmanager
def stop_signals(*, at_the_second: Callable[[], object]) -> Generator[None]:
    """Raise StopRequested in the block at the first signal and call this at every later one."""
    asked = False

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            at_the_second()
        else:
            asked = True
            raise StopRequested

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_when_input_ends() -> None:
    """Take the end of the standard input for a wish to stop; it ends with whoever holds it open."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="stdin-watch", daemon=True).start()
