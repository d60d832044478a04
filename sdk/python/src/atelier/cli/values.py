"""Values as people type them, read with an error that says what was expected."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

import click

from atelier.campaigns import parse_output_format, parse_size
from atelier.money import to_nanos

ValueT = TypeVar("ValueT")


class ReadBy(click.ParamType[ValueT]):
    """An option's value that a function reads; its ValueError is a usage error."""

    def __init__(self, name: str, read: Callable[[str], ValueT]) -> None:
        self.name = name
        self._read = read

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> ValueT:
        try:
            return self._read(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def read_moment(text: str) -> datetime:
    """Read a date or a moment; without a zone it is the reader's own.

    Raises:
        ValueError: it is neither.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no date such as 2026-11-24 or 2026-11-24T12:00") from None
    return moment if moment.tzinfo else moment.astimezone()


def read_amount(text: str) -> int:
    """Read a decimal amount as nanos.

    Raises:
        ValueError: it is none, or negative.
    """
    nanos = to_nanos(text)
    if nanos < 0:
        raise ValueError("must not be negative")
    return nanos


def read_percent(text: str) -> int:
    """Read a percentage as millionths.

    Raises:
        ValueError: it is none, or finer than a millionth.
    """
    # A billionth of a hundredth is what to_nanos calls 10 for a percent.
    nanos = to_nanos(text)
    millionths = Decimal(nanos) / 100_000
    if millionths < 0 or millionths != int(millionths):
        raise ValueError(f"{text} percent is negative or finer than a millionth")
    return int(millionths)


SIZE = ReadBy("WIDTHxHEIGHT", parse_size)
PICTURE_FORMAT = ReadBy("png|jpeg|webp", parse_output_format)
MOMENT = ReadBy("DATE", read_moment)
AMOUNT = ReadBy("AMOUNT", read_amount)
PERCENT = ReadBy("PERCENT", read_percent)
