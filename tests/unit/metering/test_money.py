"""Rounding and writing of amounts, against Python's own exact arithmetic."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.errors import AmountOverflowError
from metering.money import (
    decimal_text,
    divide_half_even,
    divide_up,
    exact_text,
    round_to_minor_unit,
    storable_nanos,
)


@given(st.integers(), st.integers(1))
def test_division_rounds_a_half_to_the_even_neighbour(numerator: int, denominator: int) -> None:
    assert divide_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(st.integers(), st.integers(1))
def test_division_upwards_is_never_below_the_exact_quotient(
    numerator: int, denominator: int
) -> None:
    quotient = divide_up(numerator, denominator)

    assert quotient - 1 < Fraction(numerator, denominator) <= quotient


@pytest.mark.parametrize(
    ("amount_nanos", "currency", "expected_nanos"),
    [
        (1_234_567_890, "EUR", 1_230_000_000),
        (1_235_000_000, "EUR", 1_240_000_000),
        (1_245_000_000, "EUR", 1_240_000_000),
        (-1_235_000_000, "EUR", -1_240_000_000),
        (1_500_000_000, "JPY", 2_000_000_000),
        (2_500_000_000, "JPY", 2_000_000_000),
        (1_234_567_890, "KWD", 1_235_000_000),
    ],
)
def test_a_total_is_rounded_to_what_the_currency_can_pay(
    amount_nanos: int, currency: str, expected_nanos: int
) -> None:
    assert round_to_minor_unit(amount_nanos, currency) == expected_nanos


@pytest.mark.parametrize(
    ("amount_nanos", "places_min", "expected"),
    [
        (0, 0, "0"),
        (0, 2, "0.00"),
        (1, 2, "0.000000001"),
        (12_500_000, 2, "0.0125"),
        (3_000_000_000, 2, "3.00"),
        (3_000_000_000, 0, "3"),
        (-4_500_000_000, 2, "-4.50"),
        (9_223_372_036_854_775_807, 0, "9223372036.854775807"),
    ],
)
def test_an_amount_is_written_exactly(amount_nanos: int, places_min: int, expected: str) -> None:
    assert decimal_text(amount_nanos, places_min=places_min) == expected


@given(st.integers(-(2**63), 2**63))
def test_a_written_amount_reads_back_as_the_same_amount(amount_nanos: int) -> None:
    assert Decimal(decimal_text(amount_nanos)) * 10**9 == amount_nanos


def test_a_decimal_is_written_without_exponent() -> None:
    assert exact_text(Decimal("1E+3")) == "1000"
    assert exact_text(Decimal("1E-7")) == "0.0000001"


def test_an_amount_beyond_a_bigint_is_refused() -> None:
    assert storable_nanos(2**63 - 1) == 2**63 - 1
    with pytest.raises(AmountOverflowError):
        storable_nanos(2**63)
