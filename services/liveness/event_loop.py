"""Run a process of ours so that its event loop is watched: in place of `asyncio.run`.

A port that accepts proves less: gRPC's own threads accept while Python hangs.
"""

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Final

from services.liveness.pulse import Loop, Pulse, pulse_path

_TURN_SECONDS: Final = 1.0
# Nothing of ours holds an event loop for a second; a machine that is short of memory may.
_TURN_SECONDS_MAX: Final = 60.0
_GRACE_SECONDS: Final = 15.0


def run_watched(main: Coroutine[None, None, None]) -> None:
    """Run `main` to its end; where a pulse is wished, a loop that stands still ends the process."""
    asyncio.run(main if pulse_path() is None else _watched(main))


async def _watched(main: Coroutine[None, None, None]) -> None:
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(_TURN_SECONDS)

    pulse = Pulse(pulse_path(), grace_seconds=_GRACE_SECONDS)
    loop = Loop(name="event loop", turns=lambda: turns, turn_seconds_max=_TURN_SECONDS_MAX)
    turning = asyncio.create_task(turn())
    pulse.start(loop, ready=True)
    try:
        await main
    finally:
        turning.cancel()
        with suppress(asyncio.CancelledError):
            await turning
        pulse.close()
