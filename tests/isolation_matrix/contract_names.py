"""Which fields of a request the contract's own rules say hold a tenant's resource name."""

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorSet

_CONTRACT: Final = Path(__file__).parents[2] / "services" / "gateway" / "contract.binpb"
# As the rules write it: `(buf.validate.field).string.pattern = "^tenants/…"`.
_PATTERN: Final = b"^tenants/"


def fields_with_names(message: str) -> set[str]:
    """Paths from the request's root; ``message`` is its full name."""
    return set(_walk(_messages()[message], above="", seen=()))


def _walk(message: DescriptorProto, *, above: str, seen: tuple[str, ...]) -> Iterator[str]:
    for field in message.field:
        if _PATTERN in field.options.SerializeToString():
            yield f"{above}{field.name}"
        below = _messages().get(field.type_name.removeprefix("."))
        if below is not None and field.type_name not in seen and not _is_repeated(field):
            yield from _walk(below, above=f"{above}{field.name}.", seen=(*seen, field.type_name))


def _is_repeated(field: FieldDescriptorProto) -> bool:
    return field.label == FieldDescriptorProto.LABEL_REPEATED


@cache
def _messages() -> Mapping[str, DescriptorProto]:
    contract = FileDescriptorSet.FromString(_CONTRACT.read_bytes())
    return {
        f"{file.package}.{message.name}": message
        for file in contract.file
        for message in file.message_type
    }
