"""Calendar months of a tenant, and where the running one is heading. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from atelier.calls import timestamp
from atelier.v1.usage_service_pb2 import UsageFilter

# Less than this of a month says nothing about the rest of it.
_FORECAST_SECONDS_MIN = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A calendar month in a time zone, end exclusive."""

    start: datetime
    end: datetime

    @property
    def billing_period(self) -> str:
        """As invoices are named: 2026-11."""
        return f"{self.start:%Y-%m}"

    @property
    def usage_filter(self) -> UsageFilter:
        return UsageFilter(start_time=timestamp(self.start), end_time=timestamp(self.end))

    def forecast_nanos(self, spent_nanos: int, *, now: datetime) -> int | None:
        """Go on at the month's average pace to its end; None while it is too young to tell.

        Measured in elapsed seconds, so that a change of the clocks makes no difference.
        """
        gone = (now - self.start.astimezone(UTC)).total_seconds()
        whole = (self.end.astimezone(UTC) - self.start.astimezone(UTC)).total_seconds()
        if gone >= whole:
            return spent_nanos
        if gone < _FORECAST_SECONDS_MIN:
            return None
        return round(spent_nanos * whole / gone)


def month_of(moment: datetime, zone: ZoneInfo) -> Month:
    """Return the month a moment lies in."""
    local = moment.astimezone(zone)
    return month_named(local.year, local.month, zone)


def month_named(year: int, month: int, zone: ZoneInfo) -> Month:
    start = datetime(year, month, 1, tzinfo=zone)
    next_year, next_month = (year + 1, 1) if month == 12 else (year, month + 1)
    return Month(start=start, end=datetime(next_year, next_month, 1, tzinfo=zone))


def months_back(moment: datetime, zone: ZoneInfo, *, count: int) -> list[Month]:
    """Return the running month and those before it, newest first."""
    months = [month_of(moment, zone)]
    while len(months) < count:
        months.append(month_of(months[-1].start - timedelta(days=1), zone))
    return months


def days_of(month: Month) -> list[str]:
    """Name the days of a month as usage does: 2026-11-24."""
    count = (month.end.date() - month.start.date()).days
    return [f"{month.start.date() + timedelta(days=day):%Y-%m-%d}" for day in range(count)]


def month_to_date(now: datetime, zone: ZoneInfo) -> UsageFilter:
    """Return the filter for what was used since the month began."""
    return UsageFilter(start_time=timestamp(month_of(now, zone).start))
