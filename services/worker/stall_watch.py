"""Ends the worker when its device hangs: only a new process frees a GPU that does not answer."""

import os
from collections.abc import Callable
from threading import Event, Thread
from time import monotonic
from typing import Final

import structlog

# What sysexits.h calls a software failure; the fleet starts a new worker.
_EXIT_CODE: Final = 70

log = structlog.get_logger()


def watch_for_stall(
    *,
    step_counter: Callable[[], int],
    stall_seconds: float,
    closing: Event,
    end_process: Callable[[int], None] = os._exit,
) -> Thread:
    """Start a thread that ends the process once the engine's counter stood still for too long."""

    def watch() -> None:
        last, since = step_counter(), monotonic()
        while not closing.wait(stall_seconds / 10):
            now = step_counter()
            if now != last:
                last, since = now, monotonic()
            elif monotonic() - since > stall_seconds:
                log.error("engine_stalled", seconds=stall_seconds)
                end_process(_EXIT_CODE)
                return

    thread = Thread(target=watch, name="stall-watch", daemon=True)
    thread.start()
    return thread
