"""Billing periods: calendar months in a tenant's time zone."""

import re
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime
from typing import Final, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from metering.errors import InvoiceNotFoundError, TimeZoneUnknownError

_INVOICE_ID: Final = re.compile(r"(?P<year>[0-9]{4})-(?P<month>0[1-9]|1[0-2])")
_MONTHS: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class BillingPeriod:
    """A calendar month of a time zone: from its first midnight up to, not including, the next's."""

    year: int
    month: int
    time_zone: str

    @classmethod
    def containing(cls, time: datetime, *, time_zone: str) -> Self:
        """Return the period in which an instant lies."""
        local = time.astimezone(_zone(time_zone))
        return cls(year=local.year, month=local.month, time_zone=time_zone)

    @classmethod
    def parse(cls, invoice_id: str, *, time_zone: str) -> Self:
        """Read ``YYYY-MM``.

        Raises:
            InvoiceNotFoundError: it is no month of the calendar.
        """
        match = _INVOICE_ID.fullmatch(invoice_id)
        # In the first and the last year an instant would fall outside of what datetime can hold.
        if match is None or not 1 < int(match["year"]) < MAXYEAR:
            raise InvoiceNotFoundError(invoice_id)
        return cls(year=int(match["year"]), month=int(match["month"]), time_zone=time_zone)

    @property
    def invoice_id(self) -> str:
        return f"{self.year:04}-{self.month:02}"

    @property
    def start_time(self) -> datetime:
        """The first instant, in UTC."""
        return datetime(self.year, self.month, 1, tzinfo=_zone(self.time_zone)).astimezone(UTC)

    @property
    def end_time(self) -> datetime:
        """The first instant after it, in UTC."""
        return self.following.start_time

    @property
    def preceding(self) -> "BillingPeriod":
        """The month before."""
        years, month_index = divmod(self.month - 2, _MONTHS)
        return BillingPeriod(
            year=self.year + years, month=month_index + 1, time_zone=self.time_zone
        )

    @property
    def following(self) -> "BillingPeriod":
        """The next month."""
        years, month_index = divmod(self.month, _MONTHS)
        return BillingPeriod(
            year=self.year + years, month=month_index + 1, time_zone=self.time_zone
        )


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise TimeZoneUnknownError(name) from error
