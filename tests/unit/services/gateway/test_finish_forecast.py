from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.price_document import Tier
from services.gateway.finish_forecast import (
    Backlog,
    Drawing,
    Kind,
    RunningImage,
    WaitingJob,
    busy_seconds,
    expected_seconds,
    forecast,
    forecast_of_new,
    interactive_extra_seconds,
    measured_pace,
    measured_seconds,
    measured_step_seconds,
)
from tenants.ids import JobId

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def kind(*, size: int = 64, steps: int = 10) -> Kind:
    return Kind(model="m", width=size, height=size, num_inference_steps=steps)


def waiting(
    name: str,
    count: int,
    *,
    tier: Tier = Tier.BATCH,
    image_seconds: float = 1.0,
    served: bool = False,
) -> WaitingJob:
    return WaitingJob(
        job_id=JobId(name),
        tier=tier,
        queued_count=count,
        image_seconds=image_seconds,
        served=served,
    )


def running(name: str, seconds_left: float, *, tier: Tier = Tier.BATCH) -> RunningImage:
    return RunningImage(job_id=JobId(name), tier=tier, seconds_left=seconds_left)


def drawing(
    start_seconds: float,
    end_seconds: float,
    *,
    of: Kind | None = None,
    gpu_seconds: float = 1.0,
    tier: Tier = Tier.BATCH,
    queue_seconds: float = 0.0,
    batch_shares: Sequence[tuple[int, int]] = (),
) -> Drawing:
    return Drawing(
        kind=of or kind(),
        tier=tier,
        queue_seconds=queue_seconds,
        batch_shares=batch_shares,
        claim_time=NOW + timedelta(seconds=start_seconds),
        end_time=NOW + timedelta(seconds=end_seconds),
        gpu_seconds=gpu_seconds,
    )


def backlog(
    *jobs: WaitingJob, in_flight: tuple[RunningImage, ...] = (), pace: float | None = 1.0
) -> Backlog:
    return Backlog(waiting=jobs, running=in_flight, pace=pace)


def seconds_until(name: str, known: Backlog) -> float:
    finish_time = forecast(known, JobId(name), now=NOW).finish_time
    assert finish_time is not None
    return (finish_time - NOW).total_seconds()


def test_a_job_alone_takes_as_long_as_its_images() -> None:
    assert seconds_until("a", backlog(waiting("a", 30))) == 30


def test_the_pace_makes_gpu_seconds_into_seconds() -> None:
    assert seconds_until("a", backlog(waiting("a", 30), pace=1.5)) == 45


def test_what_runs_is_finished_first() -> None:
    known = backlog(waiting("a", 30), in_flight=(running("a", 0.5), running("b", 1.5)))

    assert seconds_until("a", known) == 32


def test_images_that_run_together_move_on_together() -> None:
    known = backlog(in_flight=(running("short", 1.0), running("long", 3.0)))

    assert seconds_until("short", known) == 2
    assert seconds_until("long", known) == 4


def test_a_slot_that_becomes_free_is_taken_by_who_waits() -> None:
    known = backlog(waiting("other", 5), in_flight=(running("short", 1.0), running("long", 3.0)))

    assert seconds_until("long", known) == 6


def test_a_small_job_shares_turns_with_a_large_one() -> None:
    known = backlog(waiting("large", 1000), waiting("small", 5))

    assert seconds_until("small", known) == 10
    assert seconds_until("large", known) == 1005
    assert forecast(known, JobId("small"), now=NOW).queue_position == 1


def test_who_comes_behind_in_the_turns_takes_one_less() -> None:
    known = backlog(waiting("small", 5), waiting("large", 1000))

    assert seconds_until("small", known) == 9


def test_the_last_image_has_the_company_of_those_that_go_on() -> None:
    in_flight = (running("large", 0.0), running("large", 0.0), running("large", 0.0))
    known = backlog(waiting("small", 1), waiting("large", 1000), in_flight=in_flight)

    assert seconds_until("small", known) == 2


def test_urgent_images_go_before_all_others() -> None:
    known = backlog(waiting("urgent", 7, tier=Tier.INTERACTIVE), waiting("a", 2))

    assert forecast(known, JobId("a"), now=NOW).queue_position == 7
    assert seconds_until("a", known) == 9
    assert seconds_until("urgent", known) == 7


def test_batches_that_are_being_drawn_wait_for_urgent_images() -> None:
    in_flight = (running("batch", 9.0), running("urgent", 0.5, tier=Tier.INTERACTIVE))
    known = backlog(waiting("next", 1, tier=Tier.INTERACTIVE), in_flight=in_flight)

    assert seconds_until("next", known) == 1.5
    assert seconds_until("urgent", known) == 0.5


def test_nothing_is_promised_before_anything_was_drawn() -> None:
    known = backlog(waiting("a", 1), pace=None)

    assert forecast(known, JobId("a"), now=NOW).finish_time is None


@pytest.mark.parametrize(
    ("tier", "served", "position"),
    [(Tier.INTERACTIVE, True, 1), (Tier.BATCH, False, 5), (Tier.BATCH, True, 4)],
)
def test_a_new_job_goes_before_those_of_its_tier_that_had_a_turn(
    tier: Tier, position: int, *, served: bool
) -> None:
    known = backlog(waiting("urgent", 4, tier=Tier.INTERACTIVE), waiting("a", 9, served=served))

    expected = forecast_of_new(known, tier=tier, image_count=1, image_seconds=1.0, now=NOW)

    assert expected.queue_position == position


def test_an_image_is_expected_to_take_what_its_kind_took() -> None:
    measured = measured_seconds(
        [
            drawing(0, 1, of=kind(steps=10), gpu_seconds=2.0),
            drawing(0, 1, of=kind(steps=10), gpu_seconds=4.0),
            drawing(0, 1, of=kind(steps=20), gpu_seconds=5.0),
        ]
    )

    assert expected_seconds(kind(steps=10), measured) == 3.0
    assert expected_seconds(kind(steps=20), measured) == 5.0


def test_an_image_by_itself_weighs_more_than_one_that_shares_its_steps() -> None:
    # A step takes 0.5 s whoever shares it, and 0.1 s more for each image in it.
    drawings = [
        drawing(0, 1, of=kind(steps=10), gpu_seconds=6.0, batch_shares=[(1, 10)]),
        drawing(0, 1, of=kind(steps=10), gpu_seconds=3.5, batch_shares=[(2, 10)]),
        drawing(0, 1, of=kind(steps=20), gpu_seconds=4.5, batch_shares=[(4, 20)]),
    ]

    step_seconds = measured_step_seconds(drawings)
    alone = measured_seconds(drawings, step_seconds=step_seconds)

    assert step_seconds == pytest.approx(0.5)
    assert alone[kind(steps=10)] == pytest.approx(6.0)
    assert alone[kind(steps=20)] == pytest.approx(12.0)


def test_images_that_always_had_the_same_company_tell_nothing_of_a_step_alone() -> None:
    drawings = [drawing(0, 1, gpu_seconds=seconds, batch_shares=[(4, 20)]) for seconds in (1, 2)]

    assert measured_step_seconds(drawings) == 0.0


def test_an_interactive_image_takes_its_own_gpu_seconds_and_its_way_out() -> None:
    known = Backlog(
        waiting=[waiting("urgent", 1, tier=Tier.INTERACTIVE), waiting("batch", 9)],
        running=[running("batch", 5.0)],
        pace=3.0,
        interactive_extra_seconds=0.5,
    )

    assert seconds_until("urgent", known) == 1.5


def test_the_way_out_is_what_interactive_drawings_took_beside_drawing_and_waiting() -> None:
    drawings = [
        drawing(0, 3, gpu_seconds=2.0, tier=Tier.INTERACTIVE, queue_seconds=0.5),
        drawing(0, 9, gpu_seconds=2.0),
    ]

    assert interactive_extra_seconds(drawings) == 0.5
    assert interactive_extra_seconds(drawings[1:]) is None


def test_a_kind_never_drawn_is_scaled_from_the_nearest_of_its_size() -> None:
    measured = {kind(size=64, steps=10): 3.0, kind(size=128, steps=10): 20.0}

    assert expected_seconds(kind(size=128, steps=5), measured) == 10.0
    assert expected_seconds(kind(size=256, steps=10), measured) == 80.0
    assert expected_seconds(kind(), {}) == 0.0


def test_pauses_between_images_are_no_part_of_the_pace() -> None:
    drawings = [drawing(0, 3, gpu_seconds=2.0), drawing(100, 103, gpu_seconds=2.0)]

    assert measured_pace(drawings) == 1.5
    assert measured_pace([]) is None


def test_drawing_together_counts_once_and_waiting_for_work_not_at_all() -> None:
    together = [drawing(0, 10), drawing(2, 12), drawing(3, 4), drawing(100, 101)]

    assert busy_seconds(together) == 13


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 50)).map(
            lambda pair: drawing(min(pair), max(pair))
        ),
        max_size=12,
    )
)
def test_busy_time_is_what_counting_seconds_gives(drawings: list[Drawing]) -> None:
    counted = sum(
        any(
            d.claim_time <= NOW + timedelta(seconds=second)
            and NOW + timedelta(seconds=second + 1) <= d.end_time
            for d in drawings
        )
        for second in range(51)
    )

    assert busy_seconds(drawings) == counted
