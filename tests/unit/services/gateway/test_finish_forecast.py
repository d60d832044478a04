from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.price_document import Tier
from services.gateway.finish_forecast import (
    Backlog,
    Drawing,
    WaitingJob,
    busy_seconds,
    forecast,
    forecast_of_new,
)
from tenants.ids import JobId

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def waiting(
    name: str, count: int, *, tier: Tier = Tier.BATCH, pixel_steps: int = 100
) -> WaitingJob:
    return WaitingJob(job_id=JobId(name), tier=tier, queued_count=count, pixel_steps=pixel_steps)


def drawing(start_seconds: float, end_seconds: float, pixel_steps: int = 100) -> Drawing:
    return Drawing(
        claim_time=NOW + timedelta(seconds=start_seconds),
        end_time=NOW + timedelta(seconds=end_seconds),
        pixel_steps=pixel_steps,
    )


# One image of 100 pixel-steps each second.
RECENT = [drawing(-10, -9), drawing(-5, -4)]


def backlog(*jobs: WaitingJob, running_pixel_steps: int = 0) -> Backlog:
    return Backlog(waiting=jobs, running_pixel_steps=running_pixel_steps, recent=RECENT)


def seconds_until(name: str, known: Backlog) -> float:
    finish_time = forecast(known, JobId(name), now=NOW).finish_time
    assert finish_time is not None
    return (finish_time - NOW).total_seconds()


def test_a_job_alone_takes_as_long_as_its_images() -> None:
    assert seconds_until("a", backlog(waiting("a", 30))) == 30


def test_what_runs_is_half_done() -> None:
    assert seconds_until("a", backlog(waiting("a", 30), running_pixel_steps=400)) == 32
    assert seconds_until("gone to work", backlog(running_pixel_steps=400)) == 2


def test_a_small_job_shares_turns_with_a_large_one() -> None:
    known = backlog(waiting("large", 1000), waiting("small", 5))

    assert seconds_until("small", known) == 10
    assert seconds_until("large", known) == 1005
    assert forecast(known, JobId("small"), now=NOW).queue_position == 1


def test_urgent_images_go_before_all_others() -> None:
    known = backlog(waiting("urgent", 7, tier=Tier.INTERACTIVE), waiting("a", 2))

    assert forecast(known, JobId("a"), now=NOW).queue_position == 7
    assert seconds_until("a", known) == 9
    assert seconds_until("urgent", known) == 7


def test_larger_images_take_longer() -> None:
    assert seconds_until("a", backlog(waiting("a", 3, pixel_steps=400))) == 12


def test_nothing_is_promised_before_anything_was_drawn() -> None:
    known = Backlog(waiting=[waiting("a", 1)], running_pixel_steps=0, recent=[])

    assert forecast(known, JobId("a"), now=NOW).finish_time is None


@pytest.mark.parametrize(("tier", "position"), [(Tier.INTERACTIVE, 1), (Tier.BATCH, 5)])
def test_a_new_job_stands_behind_those_of_its_tier(tier: Tier, position: int) -> None:
    known = backlog(waiting("urgent", 4, tier=Tier.INTERACTIVE), waiting("a", 9))

    expected = forecast_of_new(known, tier=tier, image_count=1, pixel_steps=100, now=NOW)

    assert expected.queue_position == position


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
