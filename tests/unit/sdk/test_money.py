from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atelier.money import as_decimal, format_money, money, to_nanos
from atelier.v1.money_pb2 import Money


def test_decimals_become_whole_billionths() -> None:
    assert to_nanos("12.50") == 12_500_000_000
    assert to_nanos("0.000000001") == 1
    assert to_nanos("-3") == -3_000_000_000


@pytest.mark.parametrize("text", ["", "ten", "1,5", "nan", "inf", "0.0000000001"])
def test_what_is_no_exact_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a decimal|finer"):
        to_nanos(text)


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "0.00 USD"),
        (1, "0.000000001 USD"),
        (1_500_000_000, "1.50 USD"),
        (-10_000_000, "-0.01 USD"),
        (9_223_372_036_854_775_807, "9223372036.854775807 USD"),
    ],
)
def test_amounts_are_written_exactly(nanos: int, text: str) -> None:
    assert format_money(Money(currency_code="USD", nanos=nanos)) == text


@given(st.integers(min_value=-(2**63), max_value=2**63 - 1))
def test_an_amount_written_and_read_is_the_same(nanos: int) -> None:
    amount = Money(currency_code="EUR", nanos=nanos)

    assert money(as_decimal(amount), "EUR") == amount
    assert money(Decimal(format_money(amount).split()[0]), "EUR") == amount
