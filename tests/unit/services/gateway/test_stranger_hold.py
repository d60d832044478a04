import asyncio

import pytest

from services.gateway import errors
from services.gateway.errors import CallRefusedError
from services.gateway.stranger_hold import StrangerHold


@pytest.mark.parametrize(
    ("refused", "is_held"),
    [
        (errors.key_invalid(), True),
        (errors.rate_limited(subject="gateway"), True),
        (errors.database_down(), False),
    ],
)
async def test_a_key_that_does_not_open_is_told_so_late_and_an_outage_at_once(
    refused: CallRefusedError, is_held: bool
) -> None:
    hold = StrangerHold(seconds=3600.0)

    task = asyncio.create_task(hold.hold(refused.refusal))
    done, pending = await asyncio.wait({task}, timeout=0.01)

    assert (bool(pending), bool(done)) == (is_held, not is_held)
    task.cancel()


async def test_those_who_are_held_are_few() -> None:
    hold = StrangerHold(seconds=3600.0)
    tasks = [asyncio.create_task(hold.hold(errors.key_invalid().refusal)) for _ in range(2_100)]

    done, pending = await asyncio.wait(tasks, timeout=0.01)

    assert (len(done), len(pending)) == (100, 2_000)
    for task in pending:
        task.cancel()


def test_strangers_do_not_fill_the_log() -> None:
    hold = StrangerHold(seconds=0.0)

    lines = sum(hold.may_log(is_stranger=True) for _ in range(5_000))

    assert 20 <= lines < 200
    assert hold.may_log(is_stranger=False)
