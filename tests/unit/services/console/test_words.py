from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from atelier.v1.energy_pb2 import EnergySource
from atelier.v1.image_pb2 import ImageState
from atelier.v1.job_service_pb2 import JobState
from atelier.v1.money_pb2 import Money
from services.console import words
from services.console.months import days_of, month_of, months_back

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "0.00\u00a0EUR"),
        (119_720_000_000, "119.72\u00a0EUR"),
        (1_234_567_890_000_000, "1,234,567.89\u00a0EUR"),
        (31_572_864, "0.0316\u00a0EUR"),
        (-30_000_000, "−0.03\u00a0EUR"),
        (1_234, "0.000001234\u00a0EUR"),
        (111, "0.000000111\u00a0EUR"),
        (123_456, "0.000123\u00a0EUR"),
    ],
)
def test_an_amount_is_written_with_as_many_decimals_as_tell_something(
    nanos: int, text: str
) -> None:
    assert words.money(Money(currency_code="EUR", nanos=nanos)) == text


@pytest.mark.parametrize(
    ("millijoules", "text"),
    [
        (0, "0.0\u00a0J"),
        (58_700, "58.7\u00a0J"),
        (1_234_000, "1,234\u00a0J"),
        (98_765_000, "98.8\u00a0kJ"),
        (7_200_000_000, "2.00\u00a0kWh"),
    ],
)
def test_an_energy_is_written_in_the_unit_that_reads_best(millijoules: int, text: str) -> None:
    assert words.energy(millijoules) == text


@pytest.mark.parametrize(
    ("error_millijoules", "text"),
    [
        (1, "± 0.1\u00a0J (95\u00a0%)"),
        (1_000, "± 2.0\u00a0J (95\u00a0%)"),
        (100_000, "± 196\u00a0J (95\u00a0%)"),
        (10_000_000, "± 19.6\u00a0kJ (95\u00a0%)"),
    ],
)
def test_a_reading_has_an_interval_that_never_claims_to_be_exact(
    error_millijoules: int, text: str
) -> None:
    counter = EnergySource.ENERGY_SOURCE_NVML_COUNTER

    assert words.energy_interval(error_millijoules, counter) == text


def test_an_estimate_has_no_interval() -> None:
    assert words.energy_interval(100, EnergySource.ENERGY_SOURCE_ESTIMATED) == ""


def test_quantities_are_written_with_their_unit() -> None:
    written = [
        words.quantity("1", "image"),
        words.quantity("9", "image"),
        words.quantity("2", "kWh"),
    ]

    assert written == ["1 image", "9 images", "2 kWh"]


def test_a_number_says_no_more_and_no_less_than_it_is() -> None:
    assert [words.number(value) for value in (0, 7.5, 12_345)] == ["0", "7.5", "12,345"]


def test_a_time_is_told_in_the_tenants_zone() -> None:
    when = Timestamp()
    when.FromDatetime(datetime(2026, 11, 25, 23, 30, tzinfo=UTC))

    assert words.moment(when, BERLIN, now=NOW) == "26 Nov, 00:30"
    assert words.moment(Timestamp(), BERLIN, now=NOW) == "–"


def test_every_state_has_a_word() -> None:
    jobs = [words.job_state(state).word for state in JobState.values()]
    images = [words.image_state(state).word for state in ImageState.values()]

    assert "Partially succeeded" in jobs
    assert "Quarantined" in images
    assert all(jobs)
    assert all(images)


def test_a_month_is_the_tenants_and_has_its_days() -> None:
    # 23:30 UTC on the last of November is December in Berlin.
    month = month_of(datetime(2026, 11, 30, 23, 30, tzinfo=UTC), BERLIN)

    assert month.billing_period == "2026-12"
    assert days_of(month)[0] == "2026-12-01"
    assert len(days_of(month)) == 31


def test_months_go_back_over_a_new_year() -> None:
    names = [
        one.billing_period for one in months_back(datetime(2026, 2, 3, tzinfo=UTC), BERLIN, count=3)
    ]

    assert names == ["2026-02", "2026-01", "2025-12"]


def test_a_forecast_goes_on_at_the_months_pace() -> None:
    month = month_of(NOW, ZoneInfo("UTC"))

    half = month.forecast_nanos(500, now=datetime(2026, 11, 16, tzinfo=UTC))
    too_young = month.forecast_nanos(500, now=datetime(2026, 11, 1, 0, 30, tzinfo=UTC))
    over = month.forecast_nanos(500, now=datetime(2026, 12, 2, tzinfo=UTC))

    assert half == 1000
    assert too_young is None
    assert over == 500
