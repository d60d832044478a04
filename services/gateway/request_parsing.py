"""From the bytes of a request to a message that keeps every rule of the contract.

The gateway parses by itself because grpc answers UNKNOWN to bytes that are no message.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

from services.gateway.errors import (
    FieldViolation,
    invalid_field,
    invalid_fields,
    unsupported_parameter,
)
from services.gateway.request_validation import has_unknown_fields


class Deserializer(Protocol):
    """The generated ``FromString`` of a request."""

    def __call__(self, raw: bytes, /) -> Message:
        """Parse a message."""
        ...


class Rules(Protocol):
    """What knows the rules written in the contract."""

    def violations(self, request: Message) -> Sequence[FieldViolation]:
        """Name what breaks a rule; empty when nothing does."""
        ...


def parse_request(raw: bytes, *, deserializer: Deserializer, rules: Rules) -> Message:
    """Return the request.

    Raises:
        CallRefusedError: FIELD_VIOLATION for what is no message or breaks a rule,
            UNSUPPORTED_PARAMETER for fields of a newer contract than ours.
    """
    try:
        request = deserializer(raw)
    except DecodeError:
        raise invalid_field("request", "is not a message of this call") from None
    if has_unknown_fields(request):
        raise unsupported_parameter("request", "has fields that this server does not know")
    # No text of ours holds a zero character, and PostgreSQL takes none.
    if b"\0" in raw:
        _refuse_zero_characters(request)
    violations = rules.violations(request)
    if violations:
        raise invalid_fields(violations)
    return request


def _refuse_zero_characters(request: Message) -> None:
    for path in _texts_with_zero(request, ""):
        raise invalid_field(path, "must not contain the character U+0000")


def _texts_with_zero(message: Message, prefix: str) -> Iterator[str]:
    for field, value in message.ListFields():
        path = f"{prefix}{field.name}"
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            yield from _map_texts_with_zero(value, path)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            for item_path, item in _items(field, value, path):
                yield from _texts_with_zero(item, f"{item_path}.")
        elif field.type == FieldDescriptor.TYPE_STRING:
            yield from (item_path for item_path, item in _items(field, value, path) if "\0" in item)


def _map_texts_with_zero(entries: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - of any map
    for key, value in entries.items():
        if "\0" in str(key) or (isinstance(value, str) and "\0" in value):
            yield path


def _items(field: FieldDescriptor, value: Any, path: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    """One (path, value) for a single field, one for each element of a repeated one."""
    if not field.is_repeated:
        yield path, value
        return
    for index, item in enumerate(value):
        yield f"{path}[{index}]", item
