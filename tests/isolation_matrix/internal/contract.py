"""The contract between our own processes, as it is generated: its calls and what they name."""

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

ROOT: Final = Path(__file__).parents[3]
_GENERATED: Final = ROOT / "services" / "internal"
# Tokens and KEDA's words have no id in their names and name somebody all the same.
_OTHER_NAMES: Final = {"claim_token", "scalerMetadata"}


@cache
def methods() -> tuple[MethodDescriptor, ...]:
    """Every call of every service that is generated there, in its order."""
    return tuple(
        method
        for path in sorted(_GENERATED.rglob("*_pb2.py"))
        for service in import_module(_module_of(path)).DESCRIPTOR.services_by_name.values()
        for method in service.methods
    )


def name_of(method: MethodDescriptor) -> str:
    """`RecorderService/ClaimImage`."""
    return f"{method.containing_service.name}/{method.name}"


def fields_with_names(method: MethodDescriptor) -> set[str]:
    """Paths, from the request's root, of the fields that can name somebody or something."""
    return set(_walk(method.input_type, above=""))


def _walk(message: Descriptor, *, above: str) -> Iterator[str]:
    for field in message.fields:
        if _names(field):
            yield f"{above}{field.name}"
        elif field.message_type is not None:
            yield from _walk(field.message_type, above=f"{above}{field.name}.")


def _names(field: FieldDescriptor) -> bool:
    is_id = field.type == FieldDescriptor.TYPE_STRING and field.name.endswith("_id")
    return is_id or field.name in _OTHER_NAMES


def _module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)
