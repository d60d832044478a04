from threading import Event

from services.worker.in_flight import CancelReason, InFlight
from services.worker.work import HeldAttempt, Truth

FIRST = HeldAttempt(image_id="first", attempt=1, claim_token="t1")
SECOND = HeldAttempt(image_id="second", attempt=1, claim_token="t2")


def truth(*, cancelled: HeldAttempt | None = None, invalid: HeldAttempt | None = None) -> Truth:
    return Truth(
        cancel_wishes=frozenset({cancelled.key} if cancelled else ()),
        invalid_attempts=frozenset({invalid.key} if invalid else ()),
        interactive_images_waiting=0,
        alone_images_waiting=0,
        alone_image_overdue=False,
        drain=False,
        duty_cycle=1.0,
    )


def holding(*held: HeldAttempt) -> InFlight:
    in_flight = InFlight()
    for attempt in held:
        in_flight.add(attempt)
    return in_flight


def test_every_held_attempt_is_told_with_each_heartbeat() -> None:
    in_flight = holding(FIRST, SECOND)
    in_flight.note_progress(FIRST.key, step=2, step_count=8, preview=b"")

    told = {progress.held: progress.step_count for progress in in_flight.progress()}

    assert told == {FIRST: 8, SECOND: 0}


def test_a_preview_is_told_once() -> None:
    in_flight = holding(FIRST)
    in_flight.note_progress(FIRST.key, step=1, step_count=8, preview=b"png")

    previews = [in_flight.progress()[0].preview for _ in range(2)]

    assert previews == [b"png", b""]


def test_a_wish_repeated_by_the_recorder_cancels_once() -> None:
    in_flight = holding(FIRST, SECOND)

    marked = [in_flight.mark_cancelled(truth(cancelled=FIRST)) for _ in range(2)]

    assert marked == [[FIRST.key], []]
    assert in_flight.cancel_reason(FIRST.key) is CancelReason.WISHED


def test_an_attempt_that_is_not_ours_any_more_is_invalid_even_if_its_cancel_is_wished() -> None:
    in_flight = holding(FIRST)

    in_flight.mark_cancelled(truth(cancelled=FIRST, invalid=FIRST))

    assert in_flight.cancel_reason(FIRST.key) is CancelReason.INVALID


def test_draining_spares_what_is_cancelled_already() -> None:
    in_flight = holding(FIRST, SECOND)
    in_flight.mark_cancelled(truth(cancelled=FIRST))

    assert in_flight.mark_all_drained() == [SECOND.key]


def test_the_end_is_reached_when_the_last_attempt_is_answered() -> None:
    in_flight = holding(FIRST)
    early = in_flight.wait_until_empty(0.0)

    in_flight.remove(FIRST.key)

    assert (early, in_flight.wait_until_empty(0.0)) == (False, True)


def test_steps_are_counted_from_the_moment_an_attempt_has_to_stop() -> None:
    in_flight = holding(FIRST)
    in_flight.note_progress(FIRST.key, step=5, step_count=8, preview=b"")
    in_flight.mark_cancelled(truth(cancelled=FIRST))

    in_flight.note_progress(FIRST.key, step=6, step_count=8, preview=b"")

    assert in_flight.steps_since_cancel(FIRST.key) == 1


def test_whoever_is_in_a_hurry_does_not_wait_for_what_is_held() -> None:
    hurry = Event()
    hurry.set()

    assert not holding(FIRST).wait_unless(hurry, timeout_seconds=3600.0)
    assert holding().wait_unless(hurry, timeout_seconds=3600.0)
    assert holding().wait_unless(Event(), timeout_seconds=3600.0)
    assert not holding(FIRST).wait_unless(Event(), timeout_seconds=0.0)
