"""Money as whole nanos (billionths) of a currency: bounds, rounding, exact text. Never a float."""

from decimal import Decimal
from typing import Final

from metering.errors import AmountOverflowError

# What a bigint column holds: about 9.2 billion units of a currency.
NANOS_MAX: Final = 2**63 - 1
MILLIONTHS: Final = 1_000_000
_NANO_DIGITS: Final = 9
_DEFAULT_MINOR_DIGITS: Final = 2
# ISO 4217's currencies whose minor unit is not a hundredth, by its decimal places.
_CURRENCIES_BY_MINOR_DIGITS: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF",
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_MINOR_DIGITS: Final = {
    currency: digits
    for digits, currencies in _CURRENCIES_BY_MINOR_DIGITS.items()
    for currency in currencies.split()
}


def minor_digits(currency: str) -> int:
    """Decimal places of a currency's minor unit: 2 for EUR, 0 for JPY."""
    return _MINOR_DIGITS.get(currency, _DEFAULT_MINOR_DIGITS)


def divide_half_even(numerator: int, denominator: int) -> int:
    """Divide integers and round to the nearest, a tie to the even neighbour."""
    assert denominator > 0, "a rate's denominator is a positive constant"
    quotient, remainder = divmod(numerator, denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and quotient % 2 == 1):
        return quotient + 1
    return quotient


def divide_up(numerator: int, denominator: int) -> int:
    """Divide integers and round towards plus infinity."""
    return -(-numerator // denominator)


def round_to_minor_unit(amount_nanos: int, currency: str) -> int:
    """Round half to even to what the currency can pay, still in nanos."""
    unit_nanos = 10 ** (_NANO_DIGITS - minor_digits(currency))
    return divide_half_even(amount_nanos, unit_nanos) * unit_nanos


def storable_nanos(amount_nanos: int) -> int:
    """Return the amount.

    Raises:
        AmountOverflowError: no bigint column holds it.
    """
    if abs(amount_nanos) > NANOS_MAX:
        raise AmountOverflowError(f"{amount_nanos} nanos are more than the ledger can hold")
    return amount_nanos


def decimal_text(amount_nanos: int | Decimal, *, places_min: int = 0) -> str:
    """Write nanos as units of their currency, exactly: 12_500_000 → ``0.0125``.

    Zeros at the end are left out beyond ``places_min`` decimal places.
    """
    return exact_text(Decimal(amount_nanos).scaleb(-_NANO_DIGITS), places_min=places_min)


def exact_text(number: Decimal, *, places_min: int = 0) -> str:
    """Write a decimal in full, without exponent and without needless zeros at the end."""
    whole, _, fraction = f"{number:f}".partition(".")
    fraction = fraction.rstrip("0").ljust(places_min, "0")
    return f"{whole}.{fraction}" if fraction else whole
