from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from services.worker.slots import Slot, Slots


@pytest.fixture
def slots() -> Slots:
    return Slots(batch_slots=1, interactive_slots=1)


def waiting(slots: Slots, pool: ThreadPoolExecutor) -> Future[Slot | None]:
    """Let a token wait in a thread of its own until the slots count it."""
    before = slots.counts().waiting_tokens
    future = pool.submit(slots.wait_for_slot)
    while slots.counts().waiting_tokens == before and not future.done():
        pass
    return future


def test_the_first_token_gets_the_batch_slot(slots: Slots) -> None:
    assert slots.wait_for_slot() is Slot.BATCH


def test_a_token_waits_while_the_batch_slots_are_taken_and_no_interactive_image_waits(
    slots: Slots,
) -> None:
    slots.wait_for_slot()
    slots.claimed(alone=False)
    with ThreadPoolExecutor() as pool:
        token = waiting(slots, pool)

        slots.tell_interactive(1)

        assert token.result(timeout=5) is Slot.INTERACTIVE


def test_a_token_gets_the_batch_slot_that_is_freed(slots: Slots) -> None:
    slots.wait_for_slot()
    slots.claimed(alone=False)
    with ThreadPoolExecutor() as pool:
        token = waiting(slots, pool)

        slots.free(Slot.BATCH, alone=False)

        assert token.result(timeout=5) is Slot.BATCH


def test_nobody_claims_beside_an_image_that_runs_alone() -> None:
    slots = Slots(batch_slots=2, interactive_slots=0)
    slots.wait_for_slot()
    slots.claimed(alone=True)
    with ThreadPoolExecutor() as pool:
        token = waiting(slots, pool)
        assert not token.done()

        slots.free(Slot.BATCH, alone=True)

        assert token.result(timeout=5) is Slot.BATCH


def test_only_the_first_of_two_tokens_has_nothing_in_flight() -> None:
    slots = Slots(batch_slots=2, interactive_slots=0)
    slots.wait_for_slot()
    first = slots.nothing_in_flight
    slots.claimed(alone=False)
    slots.wait_for_slot()

    assert (first, slots.nothing_in_flight) == (True, False)


def test_draining_ends_the_tokens_that_wait(slots: Slots) -> None:
    slots.wait_for_slot()
    slots.claimed(alone=False)
    with ThreadPoolExecutor() as pool:
        token = waiting(slots, pool)

        slots.drain()

        assert token.result(timeout=5) is None


def test_an_interactive_image_that_somebody_else_got_is_waited_for_no_more(slots: Slots) -> None:
    slots.wait_for_slot()
    slots.claimed(alone=False)
    slots.tell_interactive(1)
    taken = slots.wait_for_slot()
    assert taken is Slot.INTERACTIVE

    slots.refused(taken)

    counts = slots.counts()
    assert (counts.batch_slots_free, counts.interactive_slots_free) == (0, 1)
    with ThreadPoolExecutor() as pool:
        token = waiting(slots, pool)
        assert not token.done()
        slots.drain()


def test_no_batch_image_joins_what_runs_while_one_waits_that_must_run_alone() -> None:
    slots = Slots(batch_slots=2, interactive_slots=0)
    slots.wait_for_slot()
    slots.claimed(alone=False)
    slots.tell_alone(1, overdue=False)
    with ThreadPoolExecutor() as pool:
        token = waiting(slots, pool)
        assert not token.done()

        slots.free(Slot.BATCH, alone=False)

        assert token.result(timeout=5) is Slot.BATCH
        assert slots.nothing_in_flight


def test_an_interactive_image_does_not_wait_for_one_that_must_run_alone() -> None:
    slots = Slots(batch_slots=2, interactive_slots=1)
    slots.wait_for_slot()
    slots.claimed(alone=False)
    slots.tell_alone(1, overdue=False)
    slots.tell_interactive(1)

    assert slots.wait_for_slot() is Slot.INTERACTIVE


def test_no_interactive_image_joins_what_runs_while_one_that_must_run_alone_is_overdue() -> None:
    slots = Slots(batch_slots=1, interactive_slots=1)
    slots.tell_interactive(1)
    slots.wait_for_slot()
    slots.claimed(alone=False)
    slots.tell_alone(1, overdue=True)
    with ThreadPoolExecutor() as pool:
        token = waiting(slots, pool)
        assert not token.done()

        slots.free(Slot.BATCH, alone=False)

        assert token.result(timeout=5) is Slot.BATCH
        assert slots.nothing_in_flight


def test_a_plan_takes_batch_slots_away_and_leaves_the_interactive_one() -> None:
    slots = Slots(batch_slots=4, interactive_slots=1)

    slots.limit_batch_slots(2)

    assert slots.counts().batch_slots_free == 2
    assert slots.counts().interactive_slots_free == 1
    assert slots.wait_for_slot() is Slot.BATCH
    assert slots.nothing_in_flight
