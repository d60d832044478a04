"""A stretch of time is cut at midnights: days that have roll-ups, and edges that have none."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.usage_windows import UsageWindow, usage_window

BERLIN = "Europe/Berlin"
FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)
MOMENTS = st.integers(0, 364 * 24 * 60).map(
    lambda minutes: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
)


def test_whole_days_lie_between_two_edges() -> None:
    window = usage_window(
        datetime(2026, 3, 27, 12, tzinfo=UTC), datetime(2026, 3, 31, 6, tzinfo=UTC), BERLIN
    )

    assert window == UsageWindow(
        head_start=datetime(2026, 3, 27, 12, tzinfo=UTC),
        head_end=datetime(2026, 3, 27, 23, tzinfo=UTC),
        first_day=date(2026, 3, 28),
        # No whole month lies between.
        first_month=date(2026, 3, 31),
        end_month=date(2026, 3, 31),
        end_day=date(2026, 3, 31),
        # Summer time began on the 29th.
        tail_start=datetime(2026, 3, 30, 22, tzinfo=UTC),
        tail_end=datetime(2026, 3, 31, 6, tzinfo=UTC),
    )


def test_a_month_from_midnight_to_midnight_has_no_edges() -> None:
    window = usage_window(
        datetime(2026, 10, 31, 23, tzinfo=UTC), datetime(2026, 11, 30, 23, tzinfo=UTC), BERLIN
    )

    assert window.head_start == window.head_end
    assert (window.first_day, window.end_day) == (date(2026, 11, 1), date(2026, 12, 1))
    assert window.tail_start == window.tail_end


def test_whole_months_lie_between_days_unless_days_are_asked_for() -> None:
    start, end = datetime(2026, 1, 15, tzinfo=UTC), datetime(2026, 5, 3, tzinfo=UTC)

    window = usage_window(start, end, BERLIN)
    by_day = usage_window(start, end, BERLIN, by_day=True)

    assert (window.first_day, window.first_month) == (date(2026, 1, 16), date(2026, 2, 1))
    assert (window.end_month, window.end_day) == (date(2026, 5, 1), date(2026, 5, 3))
    assert by_day.first_month == by_day.end_month == date(2026, 5, 3)


def test_all_of_time_is_days_and_a_part_of_a_day_is_head() -> None:
    everything = usage_window(None, None, BERLIN)
    morning = usage_window(
        datetime(2026, 5, 1, 6, tzinfo=UTC), datetime(2026, 5, 1, 9, tzinfo=UTC), BERLIN
    )

    assert (everything.first_day, everything.end_day) == (date.min, date.max)
    assert morning.head_end == datetime(2026, 5, 1, 9, tzinfo=UTC)
    assert morning.first_day == morning.end_day


@pytest.mark.parametrize("zone", ["America/New_York", BERLIN, "UTC", None])
@pytest.mark.parametrize(
    ("start", "end"),
    [
        (FIRST, LAST),
        (FIRST, None),
        (None, LAST),
        (None, FIRST),
        (LAST, None),
        (datetime(9999, 12, 5, tzinfo=UTC), None),
    ],
)
def test_any_moment_that_can_be_written_bounds_a_window(
    start: datetime | None, end: datetime | None, zone: str | None
) -> None:
    today = datetime(2026, 11, 25, 12, tzinfo=UTC)
    after = start is None or start <= today
    before = end is None or today < end

    window = usage_window(start, end, zone)

    is_in = (
        window.head_start <= today < window.head_end
        or window.first_day <= today.date() < window.end_day
        or window.tail_start <= today < window.tail_end
    )
    assert is_in == (after and before)


@given(start=MOMENTS, end=MOMENTS, moment=MOMENTS, zone=st.sampled_from([BERLIN, None]))
def test_each_moment_is_in_one_part_or_outside(
    start: datetime, end: datetime, moment: datetime, zone: str | None
) -> None:
    window = usage_window(start, end, zone)
    day = moment.astimezone(ZoneInfo(BERLIN)).date()

    parts = [
        window.head_start <= moment < window.head_end,
        window.first_day <= day < window.first_month,
        window.first_month <= day < window.end_month,
        window.end_month <= day < window.end_day,
        window.tail_start <= moment < window.tail_end,
    ]

    assert sum(parts) == (1 if start <= moment < end else 0)
    assert window.tail_start - window.head_end >= timedelta(0)
