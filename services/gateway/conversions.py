"""Between the wire's scalars and ours: times, money, enum values, UUIDs. Parsed at the door."""

from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from atelier.v1.money_pb2 import Money
from services.gateway.errors import invalid_field

Value_co = TypeVar("Value_co", bound=int, covariant=True)


class WireEnum(Protocol[Value_co]):
    """A generated enum as far as we need it."""

    def Name(self, number: Any) -> str:  # noqa: ANN401 - each enum has a type of its own
        """Name a number."""
        ...

    def Value(self, name: str) -> Value_co:
        """Return the number of a name."""
        ...


def to_timestamp(time: datetime | None) -> Timestamp | None:
    """Write a time; None stays unset."""
    if time is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(time)
    return timestamp


def to_datetime(timestamp: Timestamp, *, field: str) -> datetime:
    """Read a time that a caller set.

    Raises:
        CallRefusedError: FIELD_VIOLATION, when it is no time of years 1 to 9999.
    """
    try:
        return timestamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise invalid_field(field, "is no valid time") from None


def to_money(amount_nanos: int, currency: str) -> Money:
    """Write an amount."""
    return Money(currency_code=currency, nanos=amount_nanos)


def to_uuid(text: str) -> UUID:
    """Read a UUID whose form the contract's rules have checked."""
    return UUID(text)


def enum_text(wire_enum: WireEnum[int], number: int) -> str:
    """Name a value without the prefix of its enum; empty for the value 0."""
    if number == 0:
        return ""
    return wire_enum.Name(number).removeprefix(_prefix(wire_enum))


def enum_number(wire_enum: WireEnum[Value_co], text: str) -> Value_co:
    """Find the number of a value by its name without prefix."""
    return wire_enum.Value(_prefix(wire_enum) + text)


def _prefix(wire_enum: WireEnum[int]) -> str:
    return wire_enum.Name(0).removesuffix("UNSPECIFIED")
