"""The API reference: a page for each file of the contract, from its comments."""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

Comments = Mapping[tuple[int, ...], str]
# Numbers of descriptor.proto's own fields: how a comment's place is written.
_MESSAGE, _ENUM, _SERVICE, _FIELD, _METHOD, _VALUE = 4, 5, 6, 2, 2, 2
_SYNTAX = 12


def pages(protos: Path) -> Mapping[str, str]:
    """Make the pages: path → Markdown."""
    sys.path.insert(0, str(protos))
    from contract_sets import compile_contract  # noqa: PLC0415 - of the folder just named

    files = [file for file in compile_contract().file if file.name.startswith("atelier/v1/")]
    made = {f"reference/api/{Path(file.name).stem}.md": _page(file) for file in files}
    rows = "".join(
        f"| [{Path(file.name).stem}]({Path(file.name).stem}.md) | {_first_line(file)} |\n"
        for file in files
    )
    head = (
        "# API reference\n\nThe contract `atelier.v1`, file by file.\n\n"
        "| file | holds |\n| --- | --- |\n"
    )
    return {**made, "reference/api/index.md": head + rows}


def _page(file: FileDescriptorProto) -> str:
    return "\n".join(_lines(file))


def _lines(file: FileDescriptorProto) -> Iterator[str]:
    comments = _comments(file)
    yield f"# {Path(file.name).stem}\n\n{comments.get((_SYNTAX,), '')}\n"
    for number, service in enumerate(file.service):
        yield f"## {service.name}\n\n{comments.get((_SERVICE, number), '')}\n"
        for place, method in enumerate(service.method):
            stream = "a stream of " if method.server_streaming else ""
            yield (
                f"### {service.name}.{method.name}\n\n"
                f"{_type(method.input_type)} → {stream}{_type(method.output_type)}\n\n"
                f"{comments.get((_SERVICE, number, _METHOD, place), '')}\n"
            )
    for number, message in enumerate(file.message_type):
        yield from _message(message, comments, (_MESSAGE, number))
    for number, enum in enumerate(file.enum_type):
        yield from _enum(enum, comments, (_ENUM, number))


def _message(message: DescriptorProto, comments: Comments, place: tuple[int, ...]) -> Iterator[str]:
    yield f"## {message.name}\n\n{comments.get(place, '')}\n"
    if not message.field:
        return
    yield "| field | type | meaning |\n| --- | --- | --- |"
    for number, field in enumerate(message.field):
        meaning = _in_cell(comments.get((*place, _FIELD, number), ""))
        yield f"| `{field.name}` | {_field_type(field)} | {meaning} |"
    yield ""


def _enum(enum: EnumDescriptorProto, comments: Comments, place: tuple[int, ...]) -> Iterator[str]:
    yield f"## {enum.name}\n\n{comments.get(place, '')}\n"
    for number, value in enumerate(enum.value):
        meaning = comments.get((*place, _VALUE, number), "")
        yield f"**`{value.name}`** ({value.number})\n\n{meaning}\n"


def _field_type(field: FieldDescriptorProto) -> str:
    names = FieldDescriptorProto.Type
    if field.type_name.endswith("Entry"):
        return "map"
    base = (
        _type(field.type_name)
        if field.type_name
        else names.Name(field.type).removeprefix("TYPE_").lower()
    )
    repeated = field.label == FieldDescriptorProto.LABEL_REPEATED
    optional = "optional " if field.proto3_optional else ""
    return f"{'repeated ' if repeated else optional}{base}"


def _type(name: str) -> str:
    return f"`{name.rpartition('.')[2]}`"


def _comments(file: FileDescriptorProto) -> Comments:
    return {
        tuple(location.path): _text(
            location.leading_comments or "".join(location.leading_detached_comments)
        )
        for location in file.source_code_info.location
        if location.leading_comments or location.leading_detached_comments
    }


def _text(comment: str) -> str:
    return re.sub(r"^ ", "", comment, flags=re.MULTILINE).strip()


def _in_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _first_line(file: FileDescriptorProto) -> str:
    return _comments(file).get((_SYNTAX,), "").partition("\n")[0]
