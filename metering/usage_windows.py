"""A stretch of time as whole days, which have roll-ups, and the edges before and after them."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
_END: Final = datetime.max.replace(tzinfo=UTC)
# Nothing was used before or will be after them. What is beyond them is moved here, so that no clock
# and no step to the next day or month leaves what a datetime can hold.
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageWindow:
    """Head and tail are read record by record, the days from ``first_day`` up to ``end_day`` not.

    The days begin where the head ends and end where the tail starts; those from ``first_month`` up
    to ``end_month`` are whole months. Every end is exclusive.
    """

    head_start: datetime
    head_end: datetime
    first_day: date
    first_month: date
    end_month: date
    end_day: date
    tail_start: datetime
    tail_end: datetime


def usage_window(
    start_time: datetime | None,
    end_time: datetime | None,
    time_zone: str | None,
    *,
    by_day: bool = False,
) -> UsageWindow:
    """Cut a stretch of time at the midnights of a clock; without a clock it is all head.

    None begins with everything and never ends; years before 1970 and from 9000 on are left out.
    ``by_day`` leaves the months in days.
    """
    start_time, end_time = _within_bounds(start_time), _within_bounds(end_time)
    start, end = start_time or _BEGINNING, end_time or _END
    if time_zone is None:
        return _all_head(start, end)
    zone = ZoneInfo(time_zone)
    first_day = date.min if start_time is None else _first_whole_day(start_time, zone)
    end_day = date.max if end_time is None else end_time.astimezone(zone).date()
    if first_day >= end_day:
        return _all_head(start, end)
    first_month, end_month = _whole_months(first_day, end_day)
    return UsageWindow(
        head_start=start,
        head_end=start if start_time is None else midnight(first_day, zone),
        first_day=first_day,
        first_month=end_day if by_day else first_month,
        end_month=end_day if by_day else end_month,
        end_day=end_day,
        tail_start=end if end_time is None else midnight(end_day, zone),
        tail_end=end,
    )


def _within_bounds(moment: datetime | None) -> datetime | None:
    return None if moment is None else min(max(moment, _EARLIEST), _LATEST)


def _all_head(start: datetime, end: datetime) -> UsageWindow:
    return UsageWindow(
        head_start=start,
        head_end=end,
        first_day=date.max,
        first_month=date.max,
        end_month=date.max,
        end_day=date.max,
        tail_start=end,
        tail_end=end,
    )


def _first_whole_day(moment: datetime, zone: ZoneInfo) -> date:
    day = moment.astimezone(zone).date()
    return day if moment == midnight(day, zone) else day + timedelta(days=1)


def _whole_months(first_day: date, end_day: date) -> tuple[date, date]:
    """The first of the months between two days; nothing between them lies at the end."""
    end_month = end_day.replace(day=1)
    next_month = (first_day.replace(day=1) + timedelta(days=32)).replace(day=1)
    first_month = first_day if first_day.day == 1 else next_month
    return (first_month, end_month) if first_month < end_month else (end_day, end_day)


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The instant in which a day of a clock begins."""
    return datetime.combine(day, time(), zone).astimezone(UTC)
