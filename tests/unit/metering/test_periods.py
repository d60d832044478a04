"""Billing periods: months of the tenant's own time zone, without gap or overlap."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.errors import InvoiceNotFoundError, TimeZoneUnknownError
from metering.periods import BillingPeriod

ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia", "Asia/Kathmandu", "Asia/Amman"]
)
TIMES = st.integers(0, 4_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, tz=UTC))


def test_a_period_begins_and_ends_at_local_midnight() -> None:
    period = BillingPeriod.parse("2026-03", time_zone="Europe/Berlin")

    # Summer time begins within it.
    assert period.start_time == datetime(2026, 2, 28, 23, tzinfo=UTC)
    assert period.end_time == datetime(2026, 3, 31, 22, tzinfo=UTC)


def test_the_period_after_december_is_january_of_the_next_year() -> None:
    period = BillingPeriod.parse("2026-12", time_zone="UTC")

    assert period.following.invoice_id == "2027-01"


def test_an_instant_belongs_to_the_month_of_the_tenants_clock() -> None:
    instant = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)

    assert BillingPeriod.containing(instant, time_zone="UTC").invoice_id == "2026-11"
    assert BillingPeriod.containing(instant, time_zone="Asia/Tokyo").invoice_id == "2026-12"


@given(TIMES, ZONES)
def test_every_instant_lies_in_exactly_the_period_that_contains_it(
    time: datetime, zone: str
) -> None:
    period = BillingPeriod.containing(time, time_zone=zone)

    assert period.start_time <= time < period.end_time
    assert BillingPeriod.parse(period.invoice_id, time_zone=zone) == period


@pytest.mark.parametrize("text", ["", "2026", "2026-13", "2026-00", "2026-1", "0000-01", "9999-12"])
def test_what_is_no_month_is_not_found(text: str) -> None:
    with pytest.raises(InvoiceNotFoundError):
        BillingPeriod.parse(text, time_zone="UTC")


@pytest.mark.parametrize("zone", ["", "Mars/Olympus", "../etc/passwd", "Europe"])
def test_a_time_zone_that_is_none_is_refused(zone: str) -> None:
    with pytest.raises(TimeZoneUnknownError):
        _ = BillingPeriod.parse("2026-11", time_zone=zone).start_time
