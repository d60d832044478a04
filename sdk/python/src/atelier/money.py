"""Money between people's decimals and the contract's nanos, exactly."""

from decimal import Decimal, InvalidOperation

from atelier.v1.money_pb2 import Money

NANOS_PER_UNIT = 1_000_000_000


def money(amount: str | int | Decimal, currency: str) -> Money:
    """Make an amount, such as `money("12.50", "EUR")`.

    A float is not accepted: 0.1 is not a tenth.

    Raises:
        ValueError: not a decimal number, or finer than a billionth.
    """
    return Money(currency_code=currency, nanos=to_nanos(amount))


def to_nanos(amount: str | int | Decimal) -> int:
    """Write a decimal amount in billionths.

    Raises:
        ValueError: not a decimal number, or finer than a billionth.
    """
    try:
        nanos = Decimal(amount) * NANOS_PER_UNIT
        whole = int(nanos)
    except (InvalidOperation, OverflowError, ValueError) as error:
        raise ValueError(f"{amount!r} is not a decimal number") from error
    if whole != nanos:
        raise ValueError(f"{amount} is finer than a billionth")
    return whole


def as_decimal(amount: Money) -> Decimal:
    """Give the exact amount in units of its currency."""
    return Decimal(amount.nanos) / NANOS_PER_UNIT


def format_money(amount: Money) -> str:
    """Write an amount for people, exact, with at least two decimals."""
    text = f"{as_decimal(amount):.9f}"
    whole, _, decimals = text.partition(".")
    return f"{whole}.{decimals.rstrip('0').ljust(2, '0')} {amount.currency_code}".rstrip()
